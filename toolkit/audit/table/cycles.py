"""Works that descend from themselves, as cards say now and then: found as the strongly connected components of the edges
to bases, and read chain by chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from toolkit.audit.table.states import States
from toolkit.licensing.lineage import Work

if TYPE_CHECKING:
    import polars as pl

_FOLLOWED = 5  # works of a cycle whose chains are followed one by one: their number grows as a factorial


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


class Cycles:
    """Settles components one after the other into `coded`, the codes of what they lead to being there already."""

    def __init__(
        self,
        nodes: pl.DataFrame,
        bases: Mapping[int, Sequence[int]],
        signatures: Mapping[int, int],
        coded: dict[int, int],
        states: States,
    ) -> None:
        self.nodes = nodes
        self.bases = bases
        self.signatures = signatures
        self.coded = coded
        self.states = states

    def settle(self, component: Sequence[int]) -> None:
        """Give each work of a component its code."""
        members = frozenset(component)
        if len(component) == 1 and component[0] not in self.bases[component[0]]:
            self._add(component[0], members, ())
        elif len(component) <= _FOLLOWED:
            for work in component:
                self._follow(work, members)
        else:
            self._take_together(component, members)

    def _add(self, node: int, members: frozenset[int], further: Iterable[int]) -> int:
        """A work with its bases outside the component, and with what has these codes."""
        outside = [self.coded[base] for base in self.bases[node] if base not in members]
        read = partial(self.nodes.row, node, named=True)
        code = self.coded[node] = self.states.add(self.signatures[node], read, [*outside, *further])
        return code

    def _follow(self, node: int, members: frozenset[int]) -> None:
        """A work of a small cycle, each chain of it ending where it would come to a work again."""
        read = self._chain(node, members, ())
        lineage = list(read.lineage())
        families = self.states.library.words.families_of([member.id for member in lineage])
        self.coded[node] = self.states.intern(read, len(lineage), frozenset(families))

    def _chain(self, node: int, members: frozenset[int], above: tuple[int, ...]) -> Work:
        row: dict[str, Any] = self.nodes.row(node, named=True)
        bases = []
        for base in self.bases[node]:
            if base not in members:
                bases.append(self.states.works[self.coded[base]])
            elif base in (*above, node):
                name = self.nodes.item(base, "id")
                problem = f"{row['id']} names {name} as its base, which descends from it"
                bases.append(self.states.missing(name, problem))
            else:
                bases.append(self._chain(base, members, (*above, node)))
        return self.states.work(row, tuple(bases))

    def _take_together(self, component: Sequence[int], members: frozenset[int]) -> None:
        """Works of a cycle with too many ways through it: each descends from all, and from something that is not found."""
        name = self.nodes.item(component[0], "id")
        families = frozenset(self.states.library.words.families_of([name]))
        lost = self.states.intern(self.states.missing(name, f"{name} and others descend from themselves"), 1, families)
        alone = {self._add(node, members, ()) for node in component}
        for node in component:
            self._add(node, members, (*alone, lost))
