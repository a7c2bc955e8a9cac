"""The code of every work of a table, from the roots up: by joins while whole levels settle, and work by work for what is
left, which is cycles, what descends from them, and chains of great length."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit.audit.polars_extra import columnar_engine
from toolkit.audit.table.cycles import Cycles, components
from toolkit.audit.table.nodes import SIGNATURE, Graph
from toolkit.audit.table.states import States

if TYPE_CHECKING:
    import polars as pl

_MOST_LEVELS = 16  # more than registries show; a join for each level of a long chain would never end
_MOST_ROOTS = 8  # of one work; merges of merges have more, and nobody reads them


class Settled(NamedTuple):
    """`codes`: the state of every node. `roots`: (`work`, `root`) for the works at the end of each lineage, positions of
    nodes; a work without bases has itself."""

    codes: pl.Series
    roots: pl.DataFrame


def settle(graph: Graph, states: States) -> Settled:
    """Give every node of a graph its state."""
    pl = columnar_engine("a table of hub metadata")
    nodes = _with_signatures(pl, graph)
    codes = pl.Series("code", [None], dtype=pl.UInt32).new_from_index(0, nodes.height)
    ready = nodes.select("at", "signature").join(graph.edges, left_on="at", right_on="work", how="anti")
    ready = ready.with_columns(bases=pl.lit(""))
    roots = [ready.select(pl.col("at").alias("work"), pl.col("at").alias("root"))]
    codes = _code(pl, codes, ready, nodes, states)
    pending = graph.edges
    for _ in range(_MOST_LEVELS):
        settled = pending.with_columns(code=codes.gather(pending["base"]))
        known = settled.group_by("work").agg(
            pl.col("code").is_not_null().all().alias("known"), pl.col("code").sort().cast(pl.String)
        ).filter("known")  # fmt: skip
        if not known.height:
            break
        ready = known.select(pl.col("work").alias("at"), nodes["signature"].gather(known["work"]).alias("signature"),
                             pl.col("code").list.join(" ").alias("bases"))  # fmt: skip
        done = pending.join(known.select("work"), on="work", how="semi")
        roots = [pl.concat([*roots, _inherited(pl, done, roots[0])])]
        pending = pending.join(known.select("work"), on="work", how="anti")
        codes = _code(pl, codes, ready, nodes, states)
    if pending.height:
        codes, further = _one_by_one(pl, codes, roots[0], pending, nodes, states)
        roots.append(further)
    return Settled(codes, pl.concat(roots))


def _with_signatures(pl: Any, graph: Graph) -> pl.DataFrame:
    """The nodes with `at`, their position, and `signature`, the position of the first node that says the same."""
    nodes = graph.nodes.with_row_index("at")
    first = nodes.group_by(SIGNATURE).agg(pl.col("at").min().alias("signature"))
    return nodes.select("at", "id", *SIGNATURE).join(
        first, on=SIGNATURE, how="left", maintain_order="left", nulls_equal=True
    )


def _code(pl: Any, codes: pl.Series, ready: pl.DataFrame, nodes: pl.DataFrame, states: States) -> pl.Series:
    """The codes with those of the nodes that are ready: each different (signature, bases) is concluded once."""
    alike = ready.select("signature", "bases").unique(maintain_order=True)
    new = [states.add(signature, partial(nodes.row, signature, named=True), map(int, bases.split()))
           for signature, bases in alike.iter_rows()]  # fmt: skip
    alike = alike.with_columns(pl.Series("code", new, dtype=pl.UInt32))
    coded = ready.join(alike, on=["signature", "bases"], how="left", maintain_order="left")
    return codes.scatter(coded["at"], coded["code"])


def _inherited(pl: Any, edges: pl.DataFrame, roots: pl.DataFrame) -> pl.DataFrame:
    """The roots of works whose bases' roots are known."""
    named = edges.join(roots, left_on="base", right_on="work").select("work", "root").unique()
    if named.height == named["work"].n_unique():
        return named
    return named.sort("work", "root").group_by("work", maintain_order=True).head(_MOST_ROOTS)


def _one_by_one(
    pl: Any, codes: pl.Series, roots: pl.DataFrame, pending: pl.DataFrame, nodes: pl.DataFrame, states: States
) -> tuple[pl.Series, pl.DataFrame]:
    """What joins did not settle, component by component, bases first."""
    grouped = pending.group_by("work").agg(pl.col("base").sort())
    bases: dict[int, list[int]] = dict(zip(grouped["work"], grouped["base"].to_list(), strict=True))
    signatures = dict(zip(grouped["work"], nodes["signature"].gather(grouped["work"]), strict=True))
    outside = pending.select("base").unique().join(grouped, left_on="base", right_on="work", how="anti")
    coded: dict[int, int] = dict(zip(outside["base"], codes.gather(outside["base"]), strict=True))
    ends: dict[int, tuple[int, ...]] = {}
    for work, root in roots.join(outside, left_on="work", right_on="base", how="semi").iter_rows():
        ends[work] = (*ends.get(work, ()), root)
    reader = Cycles(nodes, bases, signatures, coded, states)
    for component in components(bases):
        reader.settle(component)
        members = frozenset(component)
        beyond = {root for work in component for base in bases[work] if base not in members for root in ends[base]}
        common = tuple(sorted(beyond)[:_MOST_ROOTS]) or (min(members),)
        ends.update(dict.fromkeys(component, common))
    further = [(work, root) for work in bases for root in ends[work]]
    told = pl.Series([coded[work] for work in bases], dtype=pl.UInt32)
    schema = {"work": pl.UInt32, "root": pl.UInt32}
    return codes.scatter(list(bases), told), pl.DataFrame(further, schema=schema, orient="row")
