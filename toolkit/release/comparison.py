"""Two finished runs side by side: what their recipes and plans say differently, and what came of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from toolkit.release.evaluated import scores
from toolkit.release.record import Record, at, mapping, number, text

_FIGURES = {
    "train loss": "metrics.train_loss",
    "last loss": "metrics.last_loss",
    "steps": "metrics.steps",
    "tokens": "metrics.tokens_seen",
    "tokens a second": "metrics.tokens_per_second",
    "train seconds": "metrics.train_seconds",
    "peak memory bytes": "metrics.peak_memory_bytes",
    "trained parameters": "adapter.trainable_parameters",
}
_PAPERS = {
    "verdict": "verdict.verdict",
    "base revision": "base.revision",
    "data": "data.train.sha256",
    "device": "hardware.name",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing of two runs; None where a run has none."""

    name: str
    first: object
    second: object

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "first": self.first, "second": self.second}


@dataclass(frozen=True, slots=True)
class Comparison:
    """`recipe`, `plan` and `papers` hold only what differs, `figures` everything that either run has."""

    recipe: tuple[Difference, ...]
    plan: tuple[Difference, ...]
    papers: tuple[Difference, ...]
    figures: tuple[Difference, ...]

    def to_json(self) -> dict[str, object]:
        parts = ("recipe", "plan", "papers", "figures")
        return {
            "schema": "tk/runs-compare/1",
            **{part: [item.to_json() for item in getattr(self, part)] for part in parts},
        }


def compare(first: Record, second: Record) -> Comparison:
    """The differences and figures of two records."""
    recipes = [dict(_leaves(mapping(record, "recipe.resolved"))) for record in (first, second)]
    plans = [{f"{key}": at(entry, "value") for key, entry in mapping(record, "plan.choices").items()} for record in (first, second)]  # fmt: skip
    papers = [{name: text(record, path) for name, path in _PAPERS.items()} for record in (first, second)]
    papers = [{**found, **_versions(record)} for found, record in zip(papers, (first, second), strict=True)]
    return Comparison(
        tuple(_different(*recipes)),
        tuple(_different(*plans)),
        tuple(_different(*papers)),
        tuple(_figures(first, second)),
    )


def _figures(first: Record, second: Record) -> Iterator[Difference]:
    for when in ("before", "after"):
        one, other = scores(first, when), scores(second, when)
        for name in dict.fromkeys((*one, *other)):
            yield Difference(f"{name} {when}", one.get(name), other.get(name))
    for name, path in _FIGURES.items():
        values = number(first, path), number(second, path)
        if values != (None, None):
            yield Difference(name, *values)


def _versions(record: Record) -> dict[str, str | None]:
    return {f"{name} version": str(version) for name, version in mapping(record, "versions").items()}


def _different(first: Mapping[str, object], second: Mapping[str, object]) -> Iterator[Difference]:
    for name in dict.fromkeys((*first, *second)):
        if first.get(name) != second.get(name):
            yield Difference(name, first.get(name), second.get(name))


def _leaves(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner
