"""The bases whose shape is known without their files: one YAML file per family in `recipes/bases/`.

A file holds the `model_type` of its entries, and for each entry the hub ids that share a shape, the `config` fields
that make it, and the `parameters` they add up to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast

from toolkit.files.schema import AnyOf, Flag, Key, Kind, ListOf, MapOf, Number, Record, Text, read_document
from toolkit.files.shipped import shipped
from toolkit.files.strict_yaml import load_file
from toolkit.planning.shape import Shape, read_shape


@dataclass(frozen=True, slots=True)
class KnownBase:
    """One entry: the hub ids that share a shape, the shape, its parameters as the file states them, the file's stem."""

    ids: tuple[str, ...]
    shape: Shape
    parameters: int
    family: str


class _Nothing:
    """`null`, which in a configuration is a statement (`q_lora_rank: null`: queries are not compressed)."""

    def read(self, value: object, path: object, report: object) -> object:
        if value is not None:
            report.add(path, "must be null")  # type: ignore[attr-defined]
        return None

    def json_schema(self) -> dict[str, object]:
        return {"type": "null"}


def known_shape(hub_id: str) -> Shape | None:
    """Shape of a hub id (letter case and `@revision` aside), None when no file in `recipes/bases/` lists it."""
    base = known_base(hub_id)
    return base.shape if base else None


def known_base(hub_id: str) -> KnownBase | None:
    """The entry that lists a hub id (letter case and `@revision` aside)."""
    wanted = hub_id.partition("@")[0].lower()
    return _by_id().get(wanted)


def siblings(hub_id: str) -> tuple[KnownBase, ...]:
    """The other entries of the file that lists `hub_id`, largest first."""
    base = known_base(hub_id)
    if base is None:
        return ()
    others = [other for other in known_bases() if other.family == base.family and other is not base]
    return tuple(sorted(others, key=lambda other: other.parameters, reverse=True))


@cache
def known_bases() -> tuple[KnownBase, ...]:
    """Every entry of every file. Raises InvalidInput with file and line where one is malformed."""
    return tuple(base for path in sorted((shipped("recipes") / "bases").glob("*.yaml")) for base in _read(path.stem))


@cache
def _by_id() -> dict[str, KnownBase]:
    return {name.lower(): base for base in known_bases() for name in base.ids}


def _read(family: str) -> list[KnownBase]:
    path = shipped("recipes") / "bases" / f"{family}.yaml"
    document = load_file(path, name=f"recipes/bases/{path.name}")
    content = cast("Mapping[str, object]", read_document(document, _file_shape(), "bases"))
    bases = []
    for index, entry in enumerate(cast("tuple[Mapping[str, object], ...]", content["bases"])):
        config = {"model_type": content["model_type"], **cast("Mapping[str, object]", entry["config"])}
        shape = read_shape(config, document.where(("bases", index, "config")))
        ids = cast("tuple[str, ...]", entry["ids"])
        bases.append(KnownBase(ids, shape, cast("int", entry["parameters"]), family))
    return bases


def _file_shape() -> Record:
    field: Kind = AnyOf((Flag(), Number(whole=True), Text(), _Nothing()), "a number, a word, true, false or null")
    entry = Record(
        {
            "ids": Key(ListOf(Text()), "hub ids that share the shape", required=True),
            "parameters": Key(Number(minimum=1, whole=True), "what the shape adds up to", required=True),
            "note": Key(Text(), "doubts and traps"),
            "config": Key(MapOf(field), "fields of config.json", required=True),
        }
    )
    return Record(
        {
            "model_type": Key(Text(), "architecture of the entries that name none", required=True),
            "bases": Key(ListOf(entry), required=True),
        }
    )
