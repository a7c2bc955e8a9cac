"""What an adapter is beyond rank and matrices: DoRA, how it begins, rows of new tokens; and how large that makes it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from toolkit.planning.architecture import Shape

QUANTISED = ("lora-8bit", "qlora")
_PISSA_STEPS = re.compile(r"pissa_niter_\d+")


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """What sizes depend on: `dora` trains a magnitude for each output of a matrix, `new_tokens` a row each of embedding
    and head, and `spread` ranks are moved between matrices (EVA), their sum being kept."""

    dora: bool = False
    new_tokens: int = 0
    spread: bool = False


PLAIN = AdapterKind()


def takes_from_the_base(init: str) -> bool:
    """Whether an adapter that begins so is taken out of the base, which then is another base while it is trained."""
    return init in ("pissa", "olora") or _PISSA_STEPS.fullmatch(init) is not None


def trained_parameters(shape: Shape, rank: int, targets: Collection[str], kind: AdapterKind = PLAIN) -> int:
    """Parameters that training changes; of spread ranks the most that they can come to."""
    factors = _spread(shape, rank, targets) if kind.spread else shape.adapter_parameters(rank, targets)
    return factors + (magnitudes(shape, targets) if kind.dora else 0) + row_parameters(shape, kind)


def magnitudes(shape: Shape, targets: Collection[str]) -> int:
    """DoRA's magnitudes: one for each output of every adapted matrix."""
    return sum(matrix.fan_out * matrix.count for matrix in shape.matrices if matrix.name in targets)


def row_parameters(shape: Shape, kind: AdapterKind) -> int:
    """Trained rows of new tokens, in the embedding and in a head that is a matrix of its own."""
    return kind.new_tokens * shape.embedding_parameters // shape.vocab


def _spread(shape: Shape, rank: int, targets: Collection[str]) -> int:
    """The most parameters that EVA's ranks can make: twice the rank for the widest matrices until the sum is spent.

    PEFT's `EvaConfig(rho=2.0)`: no matrix gets more than twice the rank, and the ranks add up as before.
    """
    adapted = sorted(
        ((matrix.fan_in + matrix.fan_out, matrix.count) for matrix in shape.matrices if matrix.name in targets),
        reverse=True,
    )
    left, total = rank * sum(count for _, count in adapted), 0
    for width, count in adapted:
        given = min(left, 2 * rank * count)
        total, left = total + given * width, left - given
    return total
