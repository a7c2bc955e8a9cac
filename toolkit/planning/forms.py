"""The forms of a step's live set, as data derived from traces, and what they depend on.

`forms.json` holds, for each `Way` to run, the moments at which memory can be widest; a moment is a sum of terms such
as 6·B·S·H bytes, each with its growth for every further layer. `benchmarks/derive_forms.py` writes it, from the
libraries that are installed; a test compares with traces and fails when an upgraded library has changed them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from pathlib import Path
from typing import Any

from toolkit.errors import InvalidInput, Problem
from toolkit.planning.architecture import Experts, Shape
from toolkit.planning.moments import DEQUANTISED_EXPERT_BYTES

PATH = Path(__file__).with_name("forms.json")
# Sets of adapted matrices with forms of their own beside all of them, the smallest first.
SUBSETS = {"query-value": ("q_proj", "v_proj"), "attention": ("q_proj", "k_proj", "v_proj", "o_proj")}
PRECISIONS = ("cuda 16", "cuda 32", "cpu 16", "cpu 32")  # kernels and bits; Ascend's and Apple's are counted with CPUs'
RARE = ("cuda 32", "cpu 16")


@dataclass(frozen=True, slots=True)
class Family:
    """Architectures whose steps take one course: `grouped` several query heads share a key head, `leading` layers of
    another kind come first, `latent` attention, with `compressed` queries."""

    model_type: str
    grouped: bool = False
    experts: bool = False
    leading: bool = False
    latent: bool = False
    compressed: bool = False


FAMILIES = {
    "dense": Family("mistral"),
    "dense, grouped": Family("mistral", grouped=True),
    "qwen3, grouped": Family("qwen3", grouped=True),
    "qwen3_moe, grouped": Family("qwen3_moe", grouped=True, experts=True),
    "deepseek_v2": Family("deepseek_v2", experts=True, leading=True, latent=True),
    "deepseek_v2, compressed": Family("deepseek_v2", experts=True, leading=True, latent=True, compressed=True),
    "deepseek_v3": Family("deepseek_v3", experts=True, leading=True, latent=True),
    "deepseek_v3, compressed": Family("deepseek_v3", experts=True, leading=True, latent=True, compressed=True),
}


# Parts that a form can have; the rest of a step's memory is arithmetic on the shape.
PARTS = ("gradients", "activations", "logits_and_loss", "working_buffers")


@dataclass(frozen=True, slots=True)
class MomentForm:
    """A moment's bytes as a sum: part, symbols to multiply, and the coefficient with one layer of each kind, its growth
    for each further layer, and for each further one of the leading kind."""

    name: str
    sizes: tuple[tuple[str, tuple[str, ...], tuple[float, float, float]], ...]

    def bytes_by_part(self, products: Mapping[tuple[str, ...], float], last: int, first: int) -> dict[str, float]:
        """Bytes of each part, from what the symbols multiply to, with so many further layers of the two kinds."""
        found = dict.fromkeys(PARTS, 0.0)
        for part, term, (one, more, leading) in self.sizes:
            found[part] += (one + more * last + leading * first) * products[term]
        return found


@dataclass(frozen=True, slots=True)
class Way:
    """What decides the course of a step. `precision` is one of PRECISIONS, `adapted` one of all, attention and
    query-value."""

    family: str
    adapted: str
    adapter: str
    checkpointing: bool
    loss: str
    masked: bool
    precision: str
    dropout: bool

    @property
    def dtype(self) -> str:
        return "float32" if self.precision.endswith("32") else "bfloat16"

    @property
    def device_kind(self) -> str:
        return "cuda" if self.precision.startswith("cuda") else "cpu"

    def targets(self, shape: Shape) -> tuple[str, ...]:
        """The adapted matrices of a model of the family."""
        return SUBSETS.get(self.adapted) or shape.linear_targets()

    def has_targets(self, shape: Shape, targets: Collection[str]) -> bool:
        """Whether the adapted matrices are these, and no others."""
        return set(self.targets(shape)) == set(targets)

    @property
    def key(self) -> str:
        """The name under which the forms stand in the data, whatever the loss."""
        flags = [name for name in ("checkpointing", "masked", "dropout") if getattr(self, name)]
        return " | ".join((self.family, self.adapted, self.adapter, self.precision, " ".join(flags) or "plain"))


def ways() -> Iterator[Way]:
    """Every way that has forms. Sets of targets and whole logits have them in 16 bits on a GPU alone, and the two rarer
    precisions for masked rows alone, which take a little more than others."""
    for family, precision in itertools.product(FAMILIES, PRECISIONS):
        courses = [("all", "chunked", False), ("all", "chunked", True)]
        if precision == "cuda 16":
            courses += [("all", "logits", False)]
            courses += [] if FAMILIES[family].experts else [(name, "chunked", False) for name in SUBSETS]
        for (adapted, loss, dropout), adapter, checkpointing, masked in itertools.product(
            courses, ("lora", "qlora"), (True, False), (True,) if precision in RARE else (False, True)
        ):
            yield Way(family, adapted, adapter, checkpointing, loss, masked, precision, dropout)


def family_of(shape: Shape) -> str:
    """The family whose forms hold for a shape."""
    name = shape.model_type if shape.model_type in ("qwen3", "qwen3_moe", "deepseek_v2", "deepseek_v3") else "dense"
    if shape.latent is not None:
        return name if shape.latent.q_rank is None else f"{name}, compressed"
    # Only the plain dense models are found with a key head for every query head.
    return f"{name}, grouped" if name != "dense" or shape.heads != shape.kv_heads else name


def way_of(
    shape: Shape,
    *,
    adapter: str,
    targets: Collection[str],
    checkpointing: bool,
    loss: str,
    masked: bool,
    dtype: str,
    device_kind: str,
    dropout: bool,
) -> Way:
    """The way whose forms hold: for sets of targets without their own, those of the smallest that holds them all."""
    precision = f"{'cuda' if device_kind in ('cuda', 'rocm') else 'cpu'} {32 if dtype == 'float32' else 16}"
    adapted = "all"
    if precision == "cuda 16" and not dropout and loss == "chunked" and shape.experts is None:
        adapted = next((name for name, names in SUBSETS.items() if set(targets) <= set(names)), "all")
    return Way(family_of(shape), adapted, adapter, checkpointing, loss, masked or precision in RARE, precision, dropout)


def has_forms(shape: Shape, way: Way, targets: Collection[str]) -> bool:
    """Whether forms were derived for a way: for a mixture only with what is adapted by default."""
    fits = shape.experts is None or way.has_targets(shape, targets)
    return fits and way.loss in (_line(way.key) or {})


@cache
def moments_of(way: Way) -> tuple[MomentForm, ...]:
    """The moments of a step taken this way that can be its widest. Raises InvalidInput where none were derived."""
    entry = _line(way.key) or {}
    if way.loss not in entry:
        raise InvalidInput([Problem("loss", f"there is no memory form for {way.loss} with {way.key}")])
    terms = _terms()
    return tuple(
        MomentForm(name, tuple((PARTS[part], terms[term], _growth(*sizes)) for part, term, *sizes in entries))
        for section in ("layers", way.loss)
        for name, entries in entry[section]
    )


def _growth(one: float, more: float = 0, leading: float = 0) -> tuple[float, float, float]:
    return one, more, leading


class Products(dict[tuple[str, ...], float]):
    """What a term's symbols multiply to, worked out once each."""

    def __init__(self, values: Mapping[str, float]) -> None:
        super().__init__()
        self._values = values

    def __missing__(self, term: tuple[str, ...]) -> float:
        self[term] = prod([self._values[symbol] for symbol in term])
        return self[term]


@cache
def _terms() -> list[tuple[str, ...]]:
    return [tuple(term.split()) for term in _line("terms")]


def _line(key: str) -> Any:
    """What one line of the data holds, None where there is none: a plan needs a few of its many lines, and parses no
    others."""
    start = f"\n{json.dumps(key)}: "
    _, found, rest = _text().partition(start)
    return json.loads(rest[: rest.index("\n")].rstrip(",")) if found else None


@cache
def _text() -> str:
    return PATH.read_text(encoding="utf-8")


def variables(shape: Shape, *, rank: int, batch: int, length: int, element_bytes: int = 2) -> dict[str, float]:
    """The symbols of the forms (see `toolkit.training.tracing.algebra`) for a shape and a micro-batch."""
    counted = max(1, batch * (length - 1))
    tile = min(counted, max(1, 2**26 // shape.vocab))  # as in `toolkit.training.losses`
    values: dict[str, float] = {
        "B": batch,
        "S": length,
        "S1": length - 1,
        "S32": ceil(length / 32),
        "H": shape.hidden,
        "I": shape.intermediate,
        "D": shape.head_dim / 2,
        "K": shape.kv_heads,
        "G": shape.heads / shape.kv_heads,
        "V": shape.vocab,
        "R": rank,
        "TT": min(counted, 4096),
        "TV": 32768,
        "TO": tile,
        "TL": min(counted - tile, tile),
    }
    if shape.experts is not None:
        experts = shape.experts
        values |= {"E": experts.count, "A": experts.per_token, "M": experts.intermediate, "C": experts.shared}
        values |= _tiles(shape, experts, batch * length, element_bytes)
    if shape.latent is not None:
        latent = shape.latent
        values |= {"Q": latent.q_rank or 0, "Z": latent.kv_rank, "ZR": latent.kv_rank + latent.qk_rope}
        values |= {"N": latent.qk_nope, "P": latent.qk_rope / 2, "NP": latent.qk_nope + latent.qk_rope}
        values |= {"W": latent.v, "NW": latent.qk_nope + latent.v}
    return values


def _tiles(shape: Shape, experts: Experts, tokens: int, element_bytes: int) -> dict[str, float]:
    """4-bit experts are dequantised a few at a time and multiplied with the rows that are theirs, taken as even."""
    values: dict[str, float] = {}
    for letter, matrix in (("X", 2), ("Y", 1)):  # gate and up together are twice as wide as down
        one = matrix * experts.intermediate * shape.hidden * element_bytes
        first = min(experts.count, max(1, DEQUANTISED_EXPERT_BYTES // one))
        for name, count in ((f"{letter}T", first), (f"{letter}L", min(first, experts.count - first))):
            values |= {name: count, f"{name}R": experts.per_token * tokens * count / experts.count}
    return values
