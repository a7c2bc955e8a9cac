"""Works that descend from themselves, as cards say now and then: found as the strongly connected components of the edges
to bases, and read chain by chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.audit.table.states import States
from toolkit.licensing.lineage import Work

if TYPE_CHECKING:
    import polars as pl

_DEEPEST = 16  # works of a chain within one cycle
_MOST_WORKS = 200


def components(edges: Mapping[int, Sequence[int]]) -> Iterator[list[int]]:
    """The components among the keys of `edges`, those that others lead to first (Tarjan 1972), without recursion. What an
    edge leads to and is no key stands outside."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    waiting: set[int] = set()
    for start in edges:
        if start in index:
            continue
        path = [(start, iter(edges[start]))]
        index[start] = low[start] = len(index)
        stack.append(start)
        waiting.add(start)
        while path:
            node, following = path[-1]
            for target in following:
                if target not in edges:
                    continue
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    waiting.add(target)
                    path.append((target, iter(edges[target])))
                    break
                if target in waiting:
                    low[node] = min(low[node], index[target])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == index[node]:
                    component = [stack.pop()]
                    while component[-1] != node:
                        component.append(stack.pop())
                    waiting.difference_update(component)
                    yield component


class Chains:
    """A work on a cycle with everything that it descends from. A chain ends where it would come to a work again."""

    def __init__(
        self,
        nodes: pl.DataFrame,
        bases: Mapping[int, Sequence[int]],
        members: frozenset[int],
        coded: Mapping[int, int],
        states: States,
    ) -> None:
        self.nodes = nodes
        self.bases = bases
        self.members = members
        self.coded = coded
        self.states = states
        self.works = 0

    def work(self, node: int, above: tuple[int, ...]) -> Work:
        """A node of the cycle as a work; `above` are the nodes that led here."""
        self.works += 1
        row: dict[str, Any] = self.nodes.row(node, named=True)
        return self.states.work(row, tuple(self._bases(node, row["id"], (*above, node))))

    def _bases(self, node: int, led_here: str, chain: tuple[int, ...]) -> Iterator[Work]:
        for base in self.bases[node]:
            if base not in self.members:
                yield self.states.works[self.coded[base]]
                continue
            name = self.nodes.item(base, "id")
            if base in chain:
                yield self.states.missing(name, f"{led_here} names {name} as its base, which descends from it")
            elif len(chain) > _DEEPEST or self.works >= _MOST_WORKS:
                yield self.states.missing(name, f"the lineage goes on beyond {name}; it was not followed")
            else:
                yield self.work(base, chain)
