"""A table of hub metadata as it comes (Parquet, CSV, JSON lines; tags, card data or columns of their own) becomes the few
columns that a lineage needs. Parquet and CSV are read lazily and by columns: of a tag list only what speaks is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.audit.lines import column_of, json_objects, no_identity
from toolkit.audit.polars_extra import columnar_engine
from toolkit.audit.table.prose import front_matter_of, told
from toolkit.errors import InvalidInput, TkError
from toolkit.licensing.library import Library
from toolkit.models.card import front_matter

if TYPE_CHECKING:
    import polars as pl

SEPARATOR = "\x1f"  # between the licences that one row declares
_CARD_KEYS = {
    "license": "license", "license_name": "license_name", "base_model": "base_model",
    "base_model_relation": "relation", "library_name": "library", "pipeline_tag": "pipeline",
}  # fmt: skip
_LISTS = ("tags", "license", "base_model")
_PLAIN = ("license_name", "relation", "library", "pipeline")
_RELATION = r"^base_model:((adapter|quantized|finetune|merge):)?"
_BATCH_ROWS = 50_000


def read_table(path: Path, library: Library) -> pl.DataFrame:
    """The rows of a table: `id`, `declared` (joined by SEPARATOR), `name`, `bases`, `adapter`, `pipeline` and `texts` (what its licence text is,
    see `prose.told`).

    Raises TkError when the file is not what its name says, has no column of ids, or a row has no id.
    """
    pl = columnar_engine("a table of hub metadata")
    if path.suffix == ".csv":
        _check_fields(path)
    contents = None
    try:
        if path.suffix in (".jsonl", ".ndjson"):
            seen: dict[str, int] = {}
            frame = pl.concat([_normalised(pl, batch.lazy()).collect() for batch in _json_batches(pl, path, seen)])
            if seen:
                contents = pl.DataFrame(
                    {"text": list(seen.values()), "content": list(seen)},
                    schema={"text": pl.UInt64, "content": pl.String},
                )
        else:
            lazy = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path, infer_schema=False)
            raw = _columns(pl, lazy)
            frame = _normalised(pl, raw).collect(engine="streaming")
            contents = _contents(pl, lazy)
    except pl.exceptions.PolarsError as error:
        raise TkError(f"cannot be read as {path.suffix[1:]}: {_reason(error)}", where=str(path)) from error
    frame = _with_texts(pl, frame, contents, library)
    if not frame.height:
        raise TkError("has no rows", where=str(path))
    nameless = frame.select(pl.arg_where(pl.col("id").is_null() | (pl.col("id") == ""))).to_series()
    if len(nameless):
        raise TkError(f"row {nameless[0] + 1} has no id", where=str(path), hint="every model needs its hub id")
    return frame


def _contents(pl: Any, lazy: pl.LazyFrame) -> pl.DataFrame | None:
    """Each different licence text of a table, by its hash; None where the table has no such column."""
    column = column_of("text", lazy.collect_schema().names())
    if column is None:
        return None
    content = pl.col(column).cast(pl.String)
    keyed = lazy.select(content.hash().alias("text"), content.alias("content")).drop_nulls()
    return keyed.unique("text").collect(engine="streaming")


def _with_texts(pl: Any, frame: pl.DataFrame, contents: pl.DataFrame | None, library: Library) -> pl.DataFrame:
    """Column `texts` instead of the hash of a text."""
    if contents is None or not contents.height:
        return frame.drop("text").with_columns(texts=pl.lit(""))
    counts = frame.group_by("text").agg(pl.len().alias("rows"))
    said = told(pl, contents.join(counts, on="text"), library)
    joined = frame.join(said, on="text", how="left", maintain_order="left").drop("text")
    return joined.with_columns(pl.col("texts").fill_null(""))


def parquet_columns(path: Path) -> list[str]:
    """The columns of a Parquet file. Raises TkError when it is none."""
    pl = columnar_engine("reading Parquet")
    try:
        return list(pl.read_parquet_schema(path))
    except pl.exceptions.PolarsError as error:
        raise TkError(f"cannot be read as Parquet: {_reason(error)}", where=str(path)) from error


def _columns(pl: Any, lazy: pl.LazyFrame) -> pl.LazyFrame:
    """The columns that speak, under our names and as text or lists of text."""
    schema = lazy.collect_schema()
    identity = column_of("id", schema.names())
    assert identity is not None  # or the file would not have been taken for a table
    told_in: dict[str, list[Any]] = {name: [] for name in (*_LISTS, *_PLAIN)}
    for ours in (*_LISTS, *_PLAIN):
        if (column := column_of(ours, schema.names())) is not None:
            values = _tags if ours == "tags" else _texts
            told_in[ours].append(values(pl, pl.col(column), schema[column]))
    if (column := column_of("card_data", schema.names())) is not None:
        for ours, values in _card(pl, column, schema[column]):
            told_in[ours].append(values)
    if (column := column_of("card", schema.names())) is not None and schema[column] == pl.String:
        for key, values in front_matter_of(pl, pl.col(column), _CARD_KEYS):
            told_in[_CARD_KEYS[key]].append(values)
    text = column_of("text", schema.names())
    hashed = pl.col(text).cast(pl.String).hash() if text else pl.lit(None, pl.UInt64)
    said = {ours: pl.concat_list([part.fill_null([]) for part in parts]) if parts else pl.lit([], pl.List(pl.String))
            for ours, parts in told_in.items()}  # fmt: skip
    return lazy.select(pl.col(identity).cast(pl.String).str.strip_chars().alias("id"), hashed.alias("text"),
                       *(values.alias(ours) for ours, values in said.items()))  # fmt: skip


def _card(pl: Any, column: str, dtype: Any) -> Iterator[tuple[str, Any]]:
    """What card data says, whether it is a struct or JSON text."""
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            if field.name in _CARD_KEYS:
                yield _CARD_KEYS[field.name], _texts(pl, pl.col(column).struct.field(field.name), field.dtype)
    elif dtype == pl.String:
        for key, ours in _CARD_KEYS.items():
            yield ours, _texts(pl, pl.col(column).str.json_path_match(f"$.{key}"), dtype)


def _texts(pl: Any, values: Any, dtype: Any) -> Any:
    """A column as lists of text. Text is one value, or several when it is a list as JSON or Python writes one."""
    if isinstance(dtype, pl.List):
        return values.cast(pl.List(pl.String), strict=False)
    if dtype == pl.Null:
        return pl.lit([], pl.List(pl.String))
    text = values.cast(pl.String).str.strip_chars()
    listed = text.str.starts_with("[") & text.str.ends_with("]")
    return pl.when(listed).then(text.str.extract_all(r"[^\[\]\"',\s][^\[\]\"',]*")).otherwise(pl.concat_list(text))


def _tags(pl: Any, values: Any, dtype: Any) -> Any:
    """Tags as lists, however they were written as text: JSON, Python, or with commas or blanks between them."""
    listed = isinstance(dtype, pl.List)
    return _texts(pl, values, dtype) if listed else values.cast(pl.String).str.extract_all(r"[^\s\[\]\"',;|]+")


def _normalised(pl: Any, raw: pl.LazyFrame) -> pl.LazyFrame:
    """Tags, columns and card data taken together: whatever one of them declares is declared."""
    element = pl.element()
    speaks = element.str.starts_with("base_model:") | element.str.starts_with("license:") | (element == "peft")
    tags = pl.col("tags").list.eval(element.filter(speaks))
    tagged = tags.list.eval(element.filter(element.str.starts_with("license:")).str.strip_prefix("license:"))
    bases = tags.list.eval(element.filter(element.str.starts_with("base_model:")).str.replace(_RELATION, ""))
    adapts = tags.list.eval(element.str.starts_with("base_model:adapter:") | (element == "peft")).list.any()
    stated = pl.col("base_model").list.join(",").str.split(",")
    return raw.select(
        "id",
        "text",
        declared=_clean(element, pl.concat_list("license", tagged)).list.join(SEPARATOR),
        name=_first(pl, "license_name"),
        bases=_clean(element, pl.concat_list(stated, bases)),
        adapter=(adapts.fill_null(False) | (_first(pl, "relation") == "adapter") | (_first(pl, "library") == "peft"))
        .fill_null(False),
        pipeline=_first(pl, "pipeline"),
    )  # fmt: skip


def _clean(element: Any, values: Any) -> Any:
    stripped = element.str.strip_chars()
    return values.list.eval(stripped.filter(~stripped.is_in(["", "null", "None"]))).list.unique(maintain_order=True)


def _first(pl: Any, column: str) -> Any:
    value = pl.col(column).list.first().str.strip_chars()
    return pl.when(value.is_in(["", "null", "None"])).then(None).otherwise(value)


def _json_batches(pl: Any, path: Path, texts: dict[str, int]) -> Iterator[pl.DataFrame]:
    """The rows of JSON lines in batches: rows differ in shape, which a columnar reader would refuse. Licence texts go to
    `texts`, and their number there into the rows."""
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "text", *_LISTS, *_PLAIN)}
    types = {name: pl.List(pl.String) for name in columns} | {"id": pl.String, "text": pl.UInt64}
    for line, row in json_objects(path):
        if column_of("id", row) is None:
            raise no_identity(f"{path}:{line}", list(row))
        said = row.get(column_of("text", row) or "")
        columns["text"].append(texts.setdefault(said, len(texts)) if isinstance(said, str) else None)
        for name, value in _row(row).items():
            columns[name].append(value)
        if len(columns["id"]) == _BATCH_ROWS:
            yield pl.DataFrame(columns, schema=types)
            columns = {name: [] for name in columns}
    yield pl.DataFrame(columns, schema=types)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {name: _as_texts(row[column]) if (column := column_of(name, row)) is not None else []
                              for name in (*_LISTS, *_PLAIN)}  # fmt: skip
    column = column_of("card_data", row)
    card = row[column] if column is not None else None
    if isinstance(card, str):
        try:
            card = json.loads(card)
        except json.JSONDecodeError:
            card = None
    prose = row.get(column_of("card", row) or "")
    for spoken in (card, _front(prose) if isinstance(prose, str) else None):
        if not isinstance(spoken, dict):
            continue
        for key, ours in _CARD_KEYS.items():
            values[ours] = [*values[ours], *_as_texts(spoken.get(key))]
    return {"id": str(row[column_of("id", row) or ""]).strip(), **values}


def _front(card: str) -> object:
    """The front matter of a card; nothing where it is no YAML, as a table may have cut it."""
    try:
        document = front_matter(card, "card")
    except InvalidInput:
        return None
    return document.value if document else None


def _as_texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value if item is not None] if isinstance(value, list) else [str(value)]


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _check_fields(path: Path) -> None:
    """Raise TkError for the first line of a CSV whose fields are not the header's: a row cut short would lose its base."""
    import csv

    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            width = len(next(reader))
            for row in reader:
                if row and len(row) != width:
                    text = f"has {len(row)} fields, and the header {width}"
                    raise TkError(text, where=f"{path}:{reader.line_num}", hint="quote fields that hold commas")
        except (UnicodeDecodeError, csv.Error) as error:
            raise TkError("is not a CSV in UTF-8", where=f"{path}:{reader.line_num + 1}") from error
