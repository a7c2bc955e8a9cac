"""What a table says in prose: cards, whose front matter declares as columns do, and texts of licences, each told by its
words. A registry holds few different licence texts, so each is read once, whatever the rows that have it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from toolkit.licensing.library import Library
from toolkit.licensing.lineage import LicenseText
from toolkit.models.license_files import texts_said

if TYPE_CHECKING:
    import polars as pl

FILE = "LICENSE"  # what the column of licence texts stands for
_MOST_COMPARED = 2_000  # texts that are no licence letter for letter: comparing one costs milliseconds
_FRONT = r"(?s)\A\s*---[ \t]*\r?\n(.*?)\r?\n---"


def front_matter_of(pl: Any, card: Any, keys: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """(key, values) of the front matter of a column of cards, as lists of text: one value, a list in brackets, or a list
    of lines with dashes."""
    head = card.str.extract(_FRONT, 1) + "\n"
    for key in keys:
        inline = head.str.extract(rf"(?m)^{key}:[ \t]*([^\s#|>][^\n]*?)[ \t\r]*(?:#[^\n]*)?$", 1)
        listed = inline.str.starts_with("[") & inline.str.ends_with("]")
        several = inline.str.extract_all(r"[^\[\]\"',\s][^\[\]\"',]*")
        lines = head.str.extract(rf"(?m)^{key}:[ \t]*\r?\n((?:[ \t]*-[ \t]+[^\n]*\n)+)", 1)
        below = lines.str.extract_all(r"(?m)^[ \t]*-[ \t]+[^\r\n]+").list.eval(
            pl.element().str.replace(r"^[ \t]*-[ \t]+", "").str.strip_chars(" \t\"'")
        )
        one = pl.concat_list(inline.str.strip_chars("\"'"))
        yield key, pl.when(listed).then(several).when(inline.is_not_null()).then(one).otherwise(below)


def told(pl: Any, texts: pl.DataFrame, library: Library) -> pl.DataFrame:
    """(`text`, `content`, `rows`) of each different licence text become (`text`, `texts`): what each says, as
    `license_texts` reads it. Those that most rows have are compared; of the rest only letter-for-letter copies are known,
    and nothing is said of others."""
    compared, said = 0, []
    for key, content in texts.sort("rows", descending=True).select("text", "content").iter_rows():
        found = texts_said(FILE, content, library, compare=compared < _MOST_COMPARED)
        compared += found is None or not (len(found) == 1 and found[0].id and not found[0].modified)
        said.append((key, json.dumps([list(text) for text in found or ()]) if found else ""))
    return pl.DataFrame(said, schema={"text": pl.UInt64, "texts": pl.String}, orient="row")


def license_texts(told_: str) -> tuple[LicenseText, ...]:
    """What `told` wrote of a text."""
    return tuple(LicenseText(*values) for values in json.loads(told_)) if told_ else ()
