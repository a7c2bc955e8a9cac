"""Devices: what one is for a plan, and the table that turns a name such as `RTX 4090` or `24GiB` into one.

`detect()` (in `toolkit.planning.detect`) finds the device at hand; nothing here starts a process or imports torch.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.files.schema import did_you_mean

GIB = 2**30

# Share of a card's nominal memory that torch can have where the table has no entry: the smallest share in it among
# NVIDIA cards without ECC reserve is 0.96, the median 0.98.
UNKNOWN_CARD_SHARE = 0.97

_FILLERS = frozenset(
    ("nvidia", "geforce", "tesla", "amd", "instinct", "radeon", "huawei", "ascend", "apple", "generation", "class")
)
_BOARDS = frozenset(("sxm", "pcie", "nvl"))
_BEFORE_AMPERE = re.compile(r"\b(?:GTX|TITAN|RTX 20\d\d|Quadro (?:RTX|[A-Z]+\d+)|[KMPTV]\d{1,3})\b", re.IGNORECASE)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*gi?b?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Device:
    """What a run has to live in. Bytes; `usable_bytes` is what torch can allocate, context included.

    `tflops` is the dense 16-bit rate with fp32 accumulation (on a CPU that of float32), `bandwidth_bytes` and
    `link_bytes` are bytes per second of its memory and, one way, to its neighbours; `capability` is NVIDIA's compute
    capability or AMD's gfx name. `source` says where the figures come from and what was assumed. Everything is per
    device, however many (`count`) there are; where they differ, `smallest` is the one a run on all of them lives in.
    `visible` is what CUDA_VISIBLE_DEVICES must say for a process to get this one.
    """

    kind: str
    name: str
    total_bytes: int
    free_bytes: int | None
    usable_bytes: int
    count: int
    bf16: bool
    tflops: float | None
    bandwidth_bytes: float | None
    source: str
    link_bytes: float | None = None
    capability: str = ""
    visible: str | None = None
    smallest: Device | None = None

    @property
    def in_a_group(self) -> Device:
        """The device that a run on all of them has to be planned for."""
        return replace(self.smallest, count=self.count) if self.smallest else self

    @property
    def flash_attention(self) -> bool:
        """Whether torch's attention has its flash kernel here: NVIDIA from Ampere on, AMD's Instinct from MI200 on."""
        if self.kind == "rocm":
            return True
        major = self.capability.partition(".")[0]
        return self.kind == "cuda" and (int(major) >= 8 if major.isdecimal() else self.bf16)

    def to_json(self) -> dict[str, object]:
        """Every known fact; what is not known is left out."""
        facts: dict[str, object | None] = {
            "kind": self.kind,
            "name": self.name,
            "total_bytes": self.total_bytes,
            "free_bytes": self.free_bytes,
            "usable_bytes": self.usable_bytes,
            "count": self.count,
            "bf16": self.bf16,
            "tflops": self.tflops,
            "bandwidth_bytes": self.bandwidth_bytes,
            "source": self.source,
            "link_bytes": self.link_bytes,
            "capability": self.capability or None,
            "smallest_usable_bytes": self.smallest.usable_bytes if self.smallest else None,
        }
        return {name: value for name, value in facts.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Card:
    """A row of gpus.csv. GiB, TFLOPS and GB/s as the columns say; `note` holds the doubts.

    `link_gb_s` is one way to a neighbour, by the vendors' data sheets: NVLink, Infinity Fabric or HCCS where the board
    has it, else its PCIe slot.
    """

    name: str
    vendor: str
    kind: str
    memory_gib: float
    usable_gib: float
    bf16_tflops: float
    bandwidth_gb_s: float
    bf16: bool
    capability: str
    link_gb_s: float | None
    note: str

    @property
    def link_bytes(self) -> float | None:
        return self.link_gb_s * 1e9 if self.link_gb_s else None

    def device(self, source: str) -> Device:
        """The card as a device that nothing else uses."""
        return Device(
            kind=self.kind,
            name=self.name,
            total_bytes=int(self.memory_gib * GIB),
            free_bytes=None,
            usable_bytes=int(self.usable_gib * GIB),
            count=1,
            bf16=self.bf16,
            tflops=self.bf16_tflops,
            bandwidth_bytes=self.bandwidth_gb_s * 1e9,
            source=source,
            link_bytes=self.link_bytes,
            capability=self.capability,
        )


@cache
def cards() -> tuple[Card, ...]:
    """The table, in its order."""
    with (Path(__file__).parent / "gpus.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Card(
                name=row["name"],
                vendor=row["vendor"],
                kind=row["kind"],
                memory_gib=float(row["memory_gib"]),
                usable_gib=float(row["usable_gib"]),
                bf16_tflops=float(row["bf16_tflops"]),
                bandwidth_gb_s=float(row["bandwidth_gb_s"]),
                bf16=row["bf16"] == "yes",
                capability=row["capability"],
                link_gb_s=float(row["link_gb_s"]) if row["link_gb_s"] else None,
                note=row["note"],
            )
            for row in csv.DictReader(file)
        )


def named(text: str) -> Device:
    """A device by name (`RTX 4090`, `H20`, `910B`), by memory alone (`24GiB`) or `cpu` (this machine's).

    A name that several cards share means the one with the least memory, and the source says so. Raises UsageError for
    a name that is not in the table, with the nearest one.
    """
    wanted = text.strip()
    if wanted.lower() == "cpu":
        from toolkit.planning.detect import detect_cpu  # reads this machine

        return detect_cpu()
    if size := _SIZE.match(wanted):
        return _card_of_size(float(size[1]), wanted)
    words = _words(wanted)
    found = [card for card in cards() if words and words <= _words(card.name)]
    if not found:
        near = did_you_mean(wanted, [card.name for card in cards()])
        hint = "name a card of the table (RTX 4090, A100 80GB, H20, 910B …), a memory size such as 24GiB, or cpu"
        raise UsageError(f"unknown GPU {wanted!r}{near}", hint=hint)
    smallest = min(found, key=lambda card: (card.memory_gib, len(_words(card.name))))
    others = [card.name for card in found if card.memory_gib != smallest.memory_gib]
    source = "gpus.csv" + (f" ({smallest.note})" if smallest.note else "")
    if others:
        source += f"; several cards are called so, this is the smallest (others: {', '.join(others)})"
    return smallest.device(source)


def card_of(name: str, total_bytes: int | None) -> Card | None:
    """The row for a card as a driver names it (`NVIDIA A100-SXM4-80GB`).

    The row must not say more than the driver, board and memory aside; among several the most telling name wins, then
    the nearest memory, then the same board.
    """
    words = _words(name)
    candidates = []
    for card in cards():
        own = _words(card.name)
        model = {word for word in own if word not in _BOARDS and not _SIZE.match(word)}
        if model <= words:
            distance = abs(card.memory_gib - total_bytes / GIB) / card.memory_gib if total_bytes else 0.0
            candidates.append((-len(model), round(distance, 1), -len(own & words), distance, card.name, card))
    return min(candidates)[-1] if candidates else None


def lacks_bf16(name: str) -> bool:
    """Whether a driver's name is that of an NVIDIA generation before Ampere, which has no bfloat16 hardware."""
    return _BEFORE_AMPERE.search(name) is not None


def _card_of_size(gib: float, wanted: str) -> Device:
    if gib <= 0:
        raise UsageError(f"a GPU of {wanted} has no memory")
    return Device(
        kind="cuda",
        name=f"GPU with {gib:g} GiB",
        total_bytes=int(gib * GIB),
        free_bytes=None,
        usable_bytes=int(gib * GIB * UNKNOWN_CARD_SHARE),
        count=1,
        bf16=True,
        tflops=None,
        bandwidth_bytes=None,
        source=f"memory size alone: a CUDA device with bfloat16 and {UNKNOWN_CARD_SHARE:.0%} usable is assumed",
    )


def _words(name: str) -> frozenset[str]:
    """Words that tell cards apart: without vendor and filler, `SXM4` as `sxm`, `4090D` as `4090` and `d`."""
    text = re.sub(r"\b(?:sxm\d|hbm3)\b", "sxm", name.lower())  # the H100 with HBM3 is the SXM board
    text = re.sub(r"\brtx(?=\d)", "rtx ", text)
    text = re.sub(r"(?:ascend)?\s*(910b)\d?\b", r" \1", text)
    text = re.sub(r"\b(\d{4})(ti|d|super)\b", r"\1 \2", text)
    text = re.sub(r"\b(\d+)\s*gi?b\b", r"\1gb", text)
    text = re.sub(r"\([^)]*\)", lambda group: group[0] if "class" in group[0] else " ", text)
    return frozenset(re.findall(r"[a-z0-9.]+", text)) - _FILLERS


def gib(size: float) -> str:
    """Bytes as people read them here: `14.2 GiB`, and MiB below a tenth."""
    return f"{size / GIB:.1f} GiB" if size >= 0.1 * GIB else f"{size / 2**20:.0f} MiB"


def billions(count: int) -> str:
    """A number of parameters as people say it: `7.6 B`, `494 M`."""
    return f"{count / 1e9:.1f} B" if count >= 999_500_000 else f"{count / 1e6:.1f} M"
