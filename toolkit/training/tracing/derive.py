"""The closed form, derived: what a step holds at every moment, read off traces of toy models as sums of products.

For each way to run (`Way`), models of one layer more of each kind give every moment's terms and how they grow with the
layers; moments that can nowhere be the widest are dropped. The rest is `toolkit/planning/forms.json`.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from toolkit.planning.forms import FAMILIES, MomentForm, Way
from toolkit.planning.shape import read_shape
from toolkit.training.base import compute_dtype
from toolkit.training.tracing import depth, kernels
from toolkit.training.tracing import model as models
from toolkit.training.tracing.algebra import Algebra, Reader, toy_dimensions
from toolkit.training.tracing.demand import settings_for
from toolkit.training.tracing.trace import Options, record


def forms_of(way: Way) -> list[MomentForm]:
    """Every moment of a step taken this way, none dropped."""
    base = _sections(way, first=1, last=1)
    more_last = _sections(way, first=1, last=2)
    more_first = _sections(way, first=2, last=1) if FAMILIES[way.family].leading else base
    found = []
    for name, moments in base.items():
        if name in (depth.OPTIMISER_STEP, "before"):
            continue
        others = more_last[name], more_first[name]
        if any(len(other) != len(moments) for other in others):
            raise AssertionError(f"{way}: traces of different depths differ in {name}")
        for here, last, first in zip(moments, *others, strict=True):
            keys = here.keys() | last.keys() | first.keys()
            sizes = []
            for part, term in sorted(keys):
                one = here.get((part, term), 0.0)
                growth = (last.get((part, term), 0.0) - one, first.get((part, term), 0.0) - one)
                sizes.append((part, term, (one, *growth)))
            found.append(MomentForm(name, tuple(sizes)))
    return found


def _sections(way: Way, *, first: int, last: int) -> Any:
    values = toy_dimensions()
    fields = toy_fields(way, values, first, last)
    shape = read_shape(fields)
    settings = settings_for(
        adapter=way.adapter,
        rank=values["R"],
        targets=way.targets(shape),
        batch=values["B"],
        length=values["S"],
        checkpointing=way.checkpointing,
        dtype=way.dtype,
        dropout=0.05 if way.dropout else 0.0,
        device_kind=way.device_kind,
    )
    known: dict[int, tuple[float, tuple[str, ...]]] = {}
    for matrix in shape.matrices:  # the scales of a 4-bit matrix, one for 64 weights
        symbols = tuple(sorted(_symbols(matrix.fan_in, values) + _symbols(matrix.fan_out, values)))
        ratio = matrix.fan_in * matrix.fan_out / _product(symbols, values)
        blocks = -(-matrix.fan_in * matrix.fan_out // 64)
        known |= {blocks: (ratio / 64, symbols), 4 * blocks: (ratio / 16, symbols)}
    rest = values["B"] * values["S1"] - values["TO"]
    for size, symbols in ((1, ("TL",)), (values["V"], ("TL", "V")), (values["H"], ("H", "TL"))):
        known |= {count * rest * size: (float(count), symbols) for count in (1, 2, 4, 8)}
    if FAMILIES[way.family].experts:
        known |= _expert_tiles(values)
    ledger = Reader(Algebra(values, known))
    options = Options(loss=way.loss, block=1, masked=way.masked)
    wider = 2 * values["M"] * values["H"] * (4 if compute_dtype(way.dtype, way.device_kind) == "float32" else 2)
    with ExitStack() as stack:
        for name, value in {
            "trl.kernels.chunked_logprob.TOKEN_CHUNK_SIZE": values["TT"],
            "trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE": values["TV"],
            "toolkit.training.losses.TILE_VALUES": values["TO"] * values["V"],
            "toolkit.training.experts.DEQUANTISED_EXPERT_BYTES": _Together(
                {wider: values["XT"], wider // 2: values["YT"]}
            ),
            "toolkit.training.tracing.kernels._up": lambda count, multiple: count,
        }.items():
            stack.enter_context(patch(name, value))
        return record(models.config_of(fields), settings, options, ledger)


class _Together(dict[int, int]):
    """A number of bytes that, divided by an expert's, gives the toy's own number of experts at a time."""

    def __floordiv__(self, size: int) -> int:
        return self[size]


def _expert_tiles(values: dict[str, int]) -> dict[int, tuple[float, tuple[str, ...]]]:
    """Sizes of a few experts and of the rows that are theirs, where they are no product of the dimensions."""
    ends = [0, *kernels.evenly(values["A"] * values["B"] * values["S"], values["E"])]
    found: dict[int, tuple[float, tuple[str, ...]]] = {}
    for letter, matrix in (("X", 2), ("Y", 1)):
        first, count = values[f"{letter}T"], values["E"]
        for bytes_each in (4, 8):
            found[bytes_each * (count - first)] = (float(bytes_each), (f"{letter}L",))
        for bytes_each in (1, 2, 4):
            later = bytes_each * (count - first) * matrix * values["M"] * values["H"]
            found[later] = (float(bytes_each * matrix), ("H", "M", f"{letter}L"))
            for name, rows in ((f"{letter}TR", ends[first]), (f"{letter}LR", ends[-1] - ends[first])):
                found[bytes_each * rows * 2 * values["M"]] = (2.0 * bytes_each, ("M", name))
                found[bytes_each * rows * values["M"]] = (float(bytes_each), ("M", name))
                found[bytes_each * rows * values["H"]] = (float(bytes_each), ("H", name))
    return found


def toy_fields(way: Way, values: dict[str, int], first: int, last: int) -> dict[str, object]:
    """The configuration of a toy of the way's family, `first` layers of the leading kind before `last` of the other."""
    family = FAMILIES[way.family]
    groups = values["G"] if family.grouped else 1
    fields: dict[str, object] = {
        "model_type": family.model_type,
        "hidden_size": values["H"],
        "intermediate_size": values["I"],
        "num_hidden_layers": first + last,
        "num_attention_heads": values["K"] * groups,
        "num_key_value_heads": values["K"],
        "vocab_size": values["V"],
        "max_position_embeddings": 2 * values["S"],
        "tie_word_embeddings": False,
        "head_dim": 2 * values["D"],
    }
    if family.model_type == "mistral":
        fields["sliding_window"] = None
    if family.experts:
        fields |= {"num_experts_per_tok": values["A"], "moe_intermediate_size": values["M"]}
        fields |= (
            {"num_experts": values["E"]}
            if family.model_type == "qwen3_moe"
            else {
                "n_routed_experts": values["E"],
                "n_shared_experts": values["C"],
                "first_k_dense_replace": first,
                "n_group": 1,
                "topk_group": 1,
            }
        )
    if family.latent:
        fields |= {
            "q_lora_rank": values["Q"] if family.compressed else None,
            "kv_lora_rank": values["Z"],
            "qk_nope_head_dim": values["N"],
            "qk_rope_head_dim": 2 * values["P"],
            "v_head_dim": values["W"],
        }
        fields["head_dim"] = 2 * values["P"]
    return fields


def _symbols(width: int, values: dict[str, int]) -> list[str]:
    return list(Algebra(values, {}).read(width)[1])


def _product(symbols: tuple[str, ...], values: dict[str, int]) -> int:
    result = 1
    for symbol in symbols:
        result *= values[symbol]
    return result
