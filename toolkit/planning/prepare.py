"""From a recipe to everything that is known before training: the verdict on its base, its shape, and the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from toolkit.errors import TkError
from toolkit.licensing.judge import PLAINLY, Manner
from toolkit.models.lineage import Examination, examine
from toolkit.models.resolve import Access
from toolkit.models.snapshot import Snapshot
from toolkit.planning.bases import known_shape
from toolkit.planning.gpu import Device
from toolkit.planning.plan import Plan, make_plan
from toolkit.planning.recipe import Recipe
from toolkit.planning.rows import rows_of
from toolkit.planning.shape import Shape, read_shape


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recipe with its examination (verdict included) and its plan."""

    recipe: Recipe
    examination: Examination
    plan: Plan


def prepare(
    recipe: Recipe,
    device: Device,
    access: Access,
    manner: Manner = PLAINLY,
    *,
    gpus: int | None = None,
    read: Callable[[Snapshot], Shape] | None = None,
) -> Prepared:
    """Examine a recipe's base for its use and plan the run on `gpus` of the device. Reads papers and configurations
    and counts the rows of a local file; never weights. `read` gives the base's shape where it is not `shape_of` that
    does."""
    examination = examine(recipe.base, recipe.judged_use(), access, manner)
    shape = (read or shape_of)(examination.snapshot)
    return Prepared(recipe, examination, make_plan(recipe, shape, device, gpus=gpus, rows=rows_of(recipe)))


def require_fit(plan: Plan, where: str) -> None:
    """Raise TkError for a plan that does not fit, saying what would."""
    if plan.fit == "does-not-fit":
        hint = "; or ".join(plan.suggestions) or None
        raise TkError(f"{plan.base} does not fit on {plan.device.name} this way", where=where, hint=hint)


def shape_of(snapshot: Snapshot) -> Shape:
    """The shape of a base from its own configuration, else from the known bases."""
    config = snapshot.config
    if config is not None:
        return read_shape(config)
    if snapshot.folder is not None:
        hint = "a base is a folder with config.json, safetensors and tokenizer files"
        raise TkError("has no config.json", where=str(snapshot.folder), hint=hint)
    shape = known_shape(snapshot.id)
    if shape is None:
        hint = "run it where the hub can be reached, or name a folder that holds its config.json"
        raise TkError(f"the shape of {snapshot.id} is not known here ({snapshot.note})", hint=hint)
    return shape
