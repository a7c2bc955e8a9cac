"""Sizes read back as algebra: every dimension of a toy model has a prime of its own, so bytes have one reading.

`6 x 101 x 467 x 1009` bytes can only be 6·B·S·H. A ledger that reads sizes so holds, at each moment of a step, the
live set as a sum of such terms, exactly and for models of any size.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from toolkit.errors import TkError
from toolkit.training.tracing.ledger import PARTS, Ledger

Term = tuple[str, ...]  # symbols, sorted: ("B", "H", "S")

# B rows, S tokens of a row, S1 one fewer, S32 S/32 rounded up, H hidden, I intermediate, D half a head, K key heads,
# G query heads for each, V vocabulary, R rank, TT and TV tokens and vocabulary of a tile of TRL's head, TO and TL tokens
# of the first tile of ours and of a later one, E experts, A of them active, M their width, C of them shared, XT and XL of
# them in the first and in a later tile of the wider matrix and XTR and XLR the rows that are theirs, YT … of the narrower,
# Q and Z ranks of compressed queries and keys, ZR the latter with the rotary part, N and P parts of a head without and
# (halved) with position, NP both, W width of a value's head, NW that of an expanded key without position and value.
_SMALLEST = 17  # of what is left of a size, nothing but small factors may remain: 1, 2 or 4 bytes, two or three copies


def toy_dimensions() -> dict[str, int]:
    """A value for every symbol: a prime of its own, times a power of 2 where grouped products want aligned rows."""
    values = dict(zip(("B", "D", "K", "G", "R", "E", "A", "C"), (101, 103, 107, 109, 113, 211, 131, 137), strict=True))
    values |= {"XT": 149, "YT": 151}
    values = {"H": 16 * 1009 * values["K"], **values}  # first, as it is a multiple of the heads
    values |= dict(zip(("I", "V", "M", "TV"), (2003, 9973, 16 * 1511, 5503), strict=True))
    values |= {"Q": 727, **_lengths(), **_latent()}
    # Tiles of a little more than half the tokens: two of them, as one would be the whole.
    first, second = _primes_from(values["B"] * values["S1"] * 6 // 10)
    return values | {"TT": first, "TO": second}


def _lengths() -> dict[str, int]:
    for length in range(400, 20_000):
        padded = -(-length // 32)
        if _is_prime(length) and _is_prime((length - 1) // 2) and _is_prime(padded) and padded > 13:
            return {"S": length, "S1": length - 1, "S32": padded}
    raise AssertionError("there is such a length")


def _latent() -> dict[str, int]:
    """Widths whose sums have a prime of their own too; even where rotary parts are cut off as complex numbers."""
    rotary = 2 * 307
    for half in range(311, 4000):
        for value in range(2 * half + 1, 2 * half + 200):
            nope = 2 * half
            if _is_prime(half) and _is_prime(value) and _is_prime((nope + rotary) // 4) and _is_prime(nope + value):
                rank = next(
                    2 * number
                    for number in range(2503, 9000)
                    if _is_prime(number) and _is_prime(_odd_part(number + 307))
                )
                return {
                    "N": nope,
                    "P": 307,
                    "W": value,
                    "NP": nope + rotary,
                    "NW": nope + value,
                    "Z": rank,
                    "ZR": rank + rotary,
                }
    raise AssertionError("there are such widths")


class Algebra:
    """Reads numbers of bytes as a coefficient and a term; `known` are numbers with a reading of their own."""

    def __init__(self, values: dict[str, int], known: dict[int, tuple[float, Term]]) -> None:
        self._odd = {name: _odd_part(value) for name, value in values.items()}
        self._values = values
        self._known = known

    def read(self, size: int) -> tuple[float, Term]:
        """Raises TkError for a size that is no product of the dimensions."""
        if size in self._known:
            return self._known[size]
        left, symbols, halves = size, [], 1.0
        for name, odd in self._odd.items():
            while left % odd == 0:
                left //= odd
                symbols.append(name)
                halves *= self._values[name] / odd  # of an even dimension the twos stay in what is left
        if left > 1 and _largest_factor(left) >= _SMALLEST:
            raise TkError(f"{size} bytes are no product of the toy's dimensions ({left} is left)")
        self._known[size] = (left / halves, tuple(sorted(symbols)))
        return self._known[size]


class Reader(Ledger):
    """A ledger whose snapshots are sums of terms by part; weights and optimiser states are left out."""

    def __init__(self, algebra: Algebra) -> None:
        super().__init__()
        self._algebra = algebra
        self._alive: dict[tuple[str, Term], float] = {}

    def change(self, index: int, size: int, sign: int) -> None:
        if PARTS[index] in ("base_weights", "quantisation_state", "adapter", "optimizer") or not size:
            return
        coefficient, term = self._algebra.read(size)
        if term:  # a few bytes of no dimension at all
            key = PARTS[index], term
            self._alive[key] = self._alive.get(key, 0.0) + sign * coefficient

    def snapshot(self) -> dict[tuple[str, Term], float]:
        return {key: value for key, value in self._alive.items() if value}


def value_of(term: Term, values: dict[str, float]) -> float:
    """A term's size for the dimensions of a real model."""
    return prod(values[symbol] for symbol in term)


def _primes_from(least: int) -> tuple[int, int]:
    found = [number for number in range(least, least + 1000) if _is_prime(number)]
    return found[0], found[1]


def _odd_part(value: int) -> int:
    return value // (value & -value)


def _is_prime(value: int) -> bool:
    return value > 1 and all(value % factor for factor in _factors(value))


def _factors(value: int) -> Iterator[int]:
    return iter(range(2, int(value**0.5) + 1))


def _largest_factor(value: int) -> int:
    factor, largest = 2, 1
    while value > 1:
        while value % factor == 0:
            value, largest = value // factor, factor
        factor += 1
    return largest
