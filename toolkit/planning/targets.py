"""Which matrices get an adapter: names as a recipe may write them, resolved against a base, with their counts.

On a mixture of experts PEFT's `all-linear` adapts the routed experts and the router and leaves dense layers and shared
experts out. Here the default is the other way round, and each is named by what holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toolkit.files.schema import did_you_mean
from toolkit.planning.shape import Shape

EVERY_LINEAR = "all-linear"
_MLP = ("gate_proj", "up_proj", "down_proj")


def groups(shape: Shape) -> dict[str, tuple[str, ...]]:
    """The words that stand for several names: `all-linear`, and on a mixture of experts its parts."""
    default = shape.linear_targets()
    if shape.experts is None:
        return {EVERY_LINEAR: default}
    shared = tuple(name for name in default if name.startswith("shared_experts."))
    return {
        EVERY_LINEAR: default,
        "attention": tuple(name for name in default if "." not in name),
        **({"shared_experts": shared} if shared else {}),
        "experts": tuple(matrix.name for matrix in shape.expert_matrices),
        "router": tuple(matrix.name for matrix in shape.routers),
    }


def resolve(shape: Shape, asked: Iterable[str]) -> tuple[str, ...]:
    """The names that `asked` stands for, in its order and each once. `asked` must have no `problems`."""
    known = groups(shape)
    return tuple(dict.fromkeys(name for word in asked for name in known.get(word, (word,))))


def problems(shape: Shape, asked: Iterable[str]) -> Iterator[str]:
    """What is wrong with the names of a recipe for a base of this shape."""
    words = groups(shape)
    names = [name for group in words.values() for name in group]
    for word in asked:
        if word in words or word in names:
            continue
        if word in ("lm_head", "embed_tokens"):
            yield f"{word} cannot be adapted: the chunked loss and tied heads would not see the adapter"
        elif shape.experts is not None and word in (*_MLP, "gate"):
            meant = [name for name in dict.fromkeys(names) if name.endswith(f".{word}") and word != "gate"]
            whole = "router" if word == "gate" else "experts"
            choice = f"{', '.join(meant)} or {whole}" if meant else whole
            yield f"{word} may mean several things in a mixture of experts; write {choice}"
        else:
            near = did_you_mean(word, [*words, *names])
            listed = ", ".join(dict.fromkeys([*names, *words]))
            yield f"{word!r} is not a matrix of {shape.model_type}{near}; there are {listed}"


def counted(shape: Shape, targets: Iterable[str]) -> str:
    """How many matrices of each part of the base get an adapter, in words."""
    wanted, found = set(targets), dict[str, int]()
    for matrix in (*shape.matrices, *shape.expert_matrices, *shape.routers):
        if matrix.name in wanted:
            part = _part(matrix.name)
            found[part] = found.get(part, 0) + matrix.count
    return ", ".join(f"{count:,} of {part}" for part, count in found.items())


def _part(name: str) -> str:
    holder, dot, leaf = name.rpartition(".")
    if not dot:
        return "attention" if leaf not in _MLP else "the MLPs"
    named = {"shared_experts": "shared experts", "experts": "routed experts"}
    return named.get(holder, "routers" if leaf == "gate" else "dense layers")
