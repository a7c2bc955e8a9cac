"""Plans as the tests of this room make them: a recipe with few settings, a device by name."""

from __future__ import annotations

import pytest

from toolkit.errors import InvalidInput
from toolkit.planning.bases import known_shape
from toolkit.planning.gpu import GIB, Device, named
from toolkit.planning.plan import Plan, make_plan
from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import AdapterSettings, DataSettings, TrainSettings
from toolkit.planning.rows import Rows
from toolkit.planning.shape import Shape

QWEN, LLAMA_70B = "Qwen/Qwen2.5-7B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"
CPU = Device("cpu", "a CPU", 32 * GIB, 24 * GIB, 24 * GIB, 1, False, None, None, "given")


def recipe(base: str = QWEN, *, adapter: AdapterSettings | None = None, **train: object) -> Recipe:
    return Recipe(
        base=base,
        data=DataSettings("examples/support.jsonl"),
        output="runs/x",
        path="recipes/x.yaml",
        adapter=adapter or AdapterSettings(),
        train=TrainSettings(**train),  # type: ignore[arg-type]
    )


def shape_of(base: str) -> Shape:
    shape = known_shape(base)
    assert shape is not None
    return shape


def planned(
    device: str | Device,
    base: str = QWEN,
    *,
    adapter: AdapterSettings | None = None,
    gpus: int | None = None,
    rows: Rows | None = None,
    **train: object,
) -> Plan:
    given = named(device) if isinstance(device, str) else device
    return make_plan(recipe(base, adapter=adapter, **train), shape_of(base), given, gpus=gpus, rows=rows)


def seconds(plan: Plan) -> float:
    assert plan.estimate is not None
    return plan.estimate.step_seconds


def chosen(plan: Plan, *names: str) -> tuple[object, ...]:
    return tuple(plan.choices[name].value for name in names)


def problems_of(
    device: str | Device, base: str = QWEN, shape: Shape | None = None, gpus: int | None = None, **settings: object
) -> list[str]:
    given = named(device) if isinstance(device, str) else device
    with pytest.raises(InvalidInput) as raised:
        make_plan(recipe(base, **settings), shape or shape_of(base), given, gpus=gpus)  # type: ignore[arg-type]
    return [str(problem) for problem in raised.value.problems]
