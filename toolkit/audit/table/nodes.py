"""The works that a table speaks of and the edges from each to its bases.

Every row is a node. A base that is a row is read from that row; any other becomes a node of its own, told by the
catalogue, else by its name, else unknown. What a work says by itself is its signature: works with the same signature
and the same bases are alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit.audit.polars_extra import columnar_engine
from toolkit.licensing.library import Library
from toolkit.models.lineage import named_after, plain_name

if TYPE_CHECKING:
    import polars as pl

# Whether a node is a row, or why it is a work although it is none.
ROW, CATALOGUED, PATTERN, NAMED, MISSING = "row", "catalogue", "pattern", "name", "missing"
# `waived` is the work's own id where a waiver of the policy names it: such a work is like no other.
SIGNATURE = ("kind", "declared", "name", "catalogue", "families", "pipeline", "adapter", "by_name", "waived", "texts")


class Graph(NamedTuple):
    """`nodes`: one line for each work, the table's rows first and in their order, with `id` and the columns of SIGNATURE.
    `edges`: (`work`, `base`), both positions in `nodes`."""

    nodes: pl.DataFrame
    edges: pl.DataFrame
    rows: int
    repeated: int  # rows whose id stands in an earlier row


class Lookup:
    """What the library knows of names. Only names that its words occur in are asked for one by one."""

    def __init__(self, library: Library, waived: frozenset[str]) -> None:
        self.library = library
        self._waived = sorted(waived)
        self.pl = columnar_engine("a table of hub metadata")
        self._literals = [name.literal for name in library.known_names]
        self._organisations = sorted(library.organisations)
        patterns = [pattern for known in library.words.families.values() for pattern in known]
        self._kin = sorted({pattern.lower().partition("*")[0] for pattern in patterns})

    def catalogued(self, names: pl.Series) -> pl.DataFrame:
        """For the names that the catalogue knows: their `at`, the `catalogue` patterns that match, the `bases` of those."""
        organisation = names.str.to_lowercase().str.split_exact("/", 1).struct.field("field_0")
        return self._asked(names, organisation.is_in(self._organisations), self._catalogue, "catalogue")

    def resembling(self, names: pl.Series) -> pl.DataFrame:
        """For the names that show another model: their `at`, and that model as their `bases`."""
        wanted = names.str.to_lowercase().str.contains_any(self._literals)
        return self._asked(names, wanted, self._resemblance, "by_name")

    def families(self, names: pl.Series) -> pl.Series:
        """The families of each name, joined; empty for most."""
        wanted = names.str.to_lowercase().str.contains_any(self._kin).to_list()
        of = self.library.words.families_of
        return self.pl.Series("families", [" ".join(of([name])) if ask else ""
                                           for name, ask in zip(names, wanted, strict=True)])  # fmt: skip

    def waived(self) -> Any:
        """Column `id` where a waiver names the work, else empty."""
        pl = self.pl
        return pl.when(pl.col("id").is_in(self._waived)).then("id").otherwise(pl.lit("")).alias("waived")

    def _asked(
        self, names: pl.Series, wanted: pl.Series, ask: Callable[[str], tuple[str, list[str]] | None], column: str
    ) -> pl.DataFrame:
        pl = self.pl
        found: list[tuple[int, str, list[str]]] = []
        for at in wanted.fill_null(False).arg_true():
            if (answer := ask(names[at])) is not None:
                found.append((at, *answer))
        schema = {"at": pl.UInt32, column: pl.String, "bases": pl.List(pl.String)}
        return pl.DataFrame(found, schema=schema, orient="row")

    def _catalogue(self, name: str) -> tuple[str, list[str]] | None:
        matches = self.library.catalogued(name)
        if not matches:
            return None
        bases = list(dict.fromkeys(base for match in matches for base in match.pattern.base))
        return " ".join(f"{match.head.id}:{match.pattern.match}" for match in matches), bases

    def _resemblance(self, name: str) -> tuple[str, list[str]] | None:
        shown = named_after(name, self.library, None, unread=True)
        return ("shown", [shown[0]]) if shown else None


def graph_of(frame: pl.DataFrame, library: Library, waived: frozenset[str]) -> Graph:
    """The works and edges of a table as `read_table` gives it; `waived` are the works that waivers name."""
    lookup = Lookup(library, waived)
    pl = lookup.pl
    frame, stated = _with_edges(pl, frame, lookup)
    rows = frame.height
    keys = pl.DataFrame({"key": frame["id"].str.to_lowercase()}).with_row_index("base")
    known = keys.unique("key", keep="first")
    edges: list[Any] = []
    nodes = [frame.select("id", *SIGNATURE)]
    height = rows
    while stated.height:
        met = stated.with_columns(key=pl.col("name").str.to_lowercase())
        new = met.join(known, on="key", how="anti").unique("key", keep="first", maintain_order=True)
        outside, further = _outside(pl, new["name"], lookup, height)
        known = pl.concat(
            [known, new.select(pl.int_range(height, height + pl.len(), dtype=pl.UInt32).alias("base"), "key")]
        )
        edges.append(met.join(known, on="key").select("work", "base"))
        nodes.append(outside)
        height += outside.height
        stated = further
    schema = {"work": pl.UInt32, "base": pl.UInt32}
    joined = pl.concat(edges).unique() if edges else pl.DataFrame(schema=schema)
    return Graph(pl.concat(nodes, rechunk=True), joined, rows, rows - keys["key"].n_unique())


def _with_edges(pl: Any, frame: pl.DataFrame, lookup: Lookup) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows with their signatures, and (`work`, `name`) of each base that a row states, its catalogue pattern or its
    name shows."""
    frame = frame.with_row_index("at")
    catalogued = lookup.catalogued(frame["id"])
    stated = _names(pl, frame.select("at", "bases"))
    known = pl.concat([stated.select("work"), catalogued.select(pl.col("at").alias("work"))]).unique()
    nameless = frame.select("at", "id").join(known, left_on="at", right_on="work", how="anti")
    shown = lookup.resembling(nameless["id"])
    shown = shown.with_columns(nameless["at"].gather(shown["at"]).alias("at"))
    frame = (
        frame.join(catalogued.select("at", "catalogue"), on="at", how="left", maintain_order="left")
        .join(shown.select("at", "by_name"), on="at", how="left", maintain_order="left")
        .with_columns(
            pl.lit(ROW).alias("kind"), lookup.families(frame["id"]), pl.col("catalogue").fill_null(""),
            pl.col("by_name").is_not_null(), lookup.waived(),
        )
    )  # fmt: skip
    inherited = _names(pl, pl.concat([catalogued.select("at", "bases"), shown.select("at", "bases")]))
    return frame, pl.concat([stated, inherited]).unique(maintain_order=True)


def _outside(pl: Any, names: pl.Series, lookup: Lookup, height: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Works that are no rows, with their own bases; `height` is the position that the first of them takes."""
    # A pattern of the catalogue, which a name showed, stands for a model of it and says nothing further.
    model = pl.when(pl.col("name").str.contains("*", literal=True)).then(pl.lit("")).otherwise("name")
    models = names.to_frame("name").select(model.alias("name")).to_series()
    catalogued = lookup.catalogued(models)
    shown = lookup.resembling(models).join(catalogued, on="at", how="anti")
    nodes = (
        pl.DataFrame({"id": names})
        .with_row_index("at")
        .join(catalogued.select("at", "catalogue"), on="at", how="left", maintain_order="left")
        .join(shown.select("at", "by_name"), on="at", how="left", maintain_order="left")
        .select(
            "id",
            pl.when(pl.col("id").str.contains("*", literal=True)).then(pl.lit(PATTERN))
            .when(pl.col("catalogue").is_not_null()).then(pl.lit(CATALOGUED))
            .when(pl.col("by_name").is_not_null()).then(pl.lit(NAMED)).otherwise(pl.lit(MISSING)).alias("kind"),
            pl.lit("").alias("declared"), pl.lit(None, pl.String).alias("name"), pl.col("catalogue").fill_null(""),
            lookup.families(names), pl.lit(None, pl.String).alias("pipeline"), pl.lit(False).alias("adapter"),
            pl.col("by_name").is_not_null(), lookup.waived(), pl.lit("").alias("texts"),
        )
    )  # fmt: skip
    further = _names(pl, pl.concat([catalogued.select("at", "bases"), shown.select("at", "bases")]))
    return nodes, further.with_columns(pl.col("work") + height)


def _names(pl: Any, bases: pl.DataFrame) -> pl.DataFrame:
    """(`work`, `name`) of (`at`, `bases`), names as the hub writes them."""
    long = bases.explode("bases").drop_nulls().select(pl.col("at").alias("work"), pl.col("bases").alias("name"))
    addressed = long.filter(pl.col("name").str.contains("hf.co/|huggingface.co/", literal=False))
    if addressed.height:
        plain = {name: plain_name(name) for name in addressed["name"].unique()}
        long = long.with_columns(pl.col("name").replace(plain))
    return long.filter(pl.col("name") != "")
