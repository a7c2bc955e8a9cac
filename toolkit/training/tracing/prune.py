"""Which moments of a step can be its widest: those that win on some model of a large random sample."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from toolkit.planning.architecture import Experts, Latent, Shape
from toolkit.planning.forms import FAMILIES, MomentForm, variables

MODELS = 3000
TOLERANCE = 1e-4  # of a step's own memory, weights and optimiser left out

Sample = tuple[
    dict[str, float], int, int
]  # values of the symbols, further layers of the last kind and of the leading one


def widest(family: str, forms: Sequence[MomentForm]) -> list[MomentForm]:
    """The fewest of `forms` (greedily) whose maximum is that of all on every model of the sample, tolerance aside.

    Counted with the gradients that a moment has and without: under accumulation every moment has them all.
    """
    import numpy

    everything, gradients = _tables(family, forms)
    totals = numpy.concatenate([everything, everything - gradients], axis=1)
    enough = totals >= totals.max(axis=0) * (1 - TOLERANCE)
    kept: list[int] = []
    uncovered = numpy.ones(totals.shape[1], dtype=bool)
    while uncovered.any():
        best = int(enough[:, uncovered].sum(axis=1).argmax())
        kept.append(best)
        uncovered &= ~enough[best]
    return [forms[index] for index in sorted(kept)]


def _tables(family: str, forms: Sequence[MomentForm]) -> tuple[Any, Any]:
    """Bytes of every form (rows) on every model (columns): all of them, and the gradients among them."""
    import numpy

    found = samples(family)
    columns = {symbol: numpy.array([values[symbol] for values, _, _ in found]) for symbol in found[0][0]}
    last, first = (numpy.array([sample[place] for sample in found]) for place in (1, 2))
    products: dict[tuple[str, ...], Any] = {}
    totals, gradients = numpy.zeros((len(forms), len(found))), numpy.zeros((len(forms), len(found)))
    for index, form in enumerate(forms):
        for part, term, (one, more, leading) in form.sizes:
            if term not in products:
                products[term] = numpy.prod([columns[symbol] for symbol in term], axis=0)
            size = (one + more * last + leading * first) * products[term]
            totals[index] += size
            if part == "gradients":
                gradients[index] += size
    return totals, gradients


def samples(family: str) -> list[Sample]:
    """Models of a family and micro-batches on them, from toys to the largest there are; the same ones every time."""
    draw = random.Random(0)
    return [_sample(family, draw) for _ in range(MODELS)]


def _sample(family: str, draw: random.Random) -> Sample:
    details = FAMILIES[family]
    head = draw.choice((16, 32, 64, 80, 96, 128, 128, 128, 256))
    groups = draw.choice((2, 3, 4, 5, 6, 7, 8, 16)) if details.grouped else 1
    keys = draw.choice((1, 2, 4, 8, 16, 32))
    hidden = draw.choice((64, 256, 576, 896, 1536, 2048, 2560, 3584, 4096, 5120, 7168, 8192, 16384))
    layers = draw.randint(4, 126)
    leading = draw.randint(1, 3) if details.leading else 0
    experts = latent = None
    if details.experts:
        count = draw.choice((8, 64, 128, 160, 256))
        experts = Experts(
            count, draw.choice((2, 4, 6, 8)), draw.randint(1, 2), draw.choice((96, 768, 1408, 2048)), leading
        )
    if details.latent:
        rank = draw.choice((96, 1024, 1536)) if details.compressed else None
        latent = Latent(
            rank, draw.choice((64, 512)), draw.choice((32, 128)), draw.choice((16, 64)), draw.choice((32, 128))
        )
        keys = draw.choice((4, 16, 64, 128))
    shape = Shape(
        model_type=details.model_type,
        hidden=hidden,
        intermediate=int(hidden * draw.uniform(1.2, 6)),
        layers=layers,
        heads=keys * groups,
        kv_heads=keys,
        head_dim=head,
        vocab=draw.choice((512, 8000, 32000, 102400, 128256, 151936, 256000)),
        tied=False,
        attention_bias=False,
        qk_norm=False,
        max_positions=2**20,
        experts=experts,
        latent=latent,
    )
    values = variables(
        shape,
        rank=draw.choice((4, 8, 16, 16, 32, 64, 256)),
        batch=draw.choice((1, 1, 2, 4, 8, 16)),
        length=draw.choice((64, 256, 512, 1024, 2048, 2048, 4096, 8192, 16384, 32768)),
    )
    first = max(leading - 1, 0)
    return values, layers - 2 - first, first


def sections(forms: Sequence[MomentForm]) -> Any:
    """Forms apart by whether the loss decides them: those of the layers, and those of loss and head."""
    head = [form for form in forms if form.name.startswith("loss")]
    return [form for form in forms if not form.name.startswith("loss")], head
