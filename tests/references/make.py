"""Loss references: the first steps of every recipe that runs on an embedded base, as they were when last looked at.

    python tests/references/make.py [NAME ...]     write tests/references/NAME.json again; all of them without a name

`tests/training/test_references.py` trains the same steps and compares. Write references again only when a change of
the training is meant, and say in the change why the losses moved.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RECIPES = ROOT / "recipes"

# A few quick steps, and the same rows a micro-batch whatever memory a machine has.
SHORT = ("train.max_steps=3", "train.batch_size=8", "train.micro_batch_size=4", "evaluate.fraction=0")

# Relative. The same CPU gives the same bits; other instructions add up in another order, which moved these losses by
# 3e-7 at most (AVX-512, AVX2 and neither). A learning rate a hundredth off or one token left out moves them by more than
# the tolerance, as `test_references.py` shows.
TOLERANCE = 2e-5


def names() -> list[str]:
    """Every recipe that runs on an embedded base. The folder is the list."""
    return sorted(path.stem for path in RECIPES.glob("embedded-*.yaml"))


def read(name: str) -> dict[str, Any]:
    """A reference: `set` (overrides of the recipe), `loss` of each step, and `tolerance`. Empty where there is none."""
    path = HERE / f"{name}.json"
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return value


def curve(name: str, overrides: tuple[str, ...], output: Path) -> list[float]:
    """The loss of every step of a recipe with overrides, by the way that `tk finetune` takes."""
    from toolkit.licensing.library import library
    from toolkit.models.reference import parse_reference
    from toolkit.models.resolve import Access, resolve
    from toolkit.planning.detect import device_of
    from toolkit.planning.gate import grant
    from toolkit.planning.prepare import prepare
    from toolkit.planning.recipe import load_recipe
    from toolkit.training.run import finetune

    # A recipe's examples are named relative to the folder that `tk` runs in.
    recipe = load_recipe(str(RECIPES / f"{name}.yaml"), (*overrides, f"output={output}"))
    prepared = prepare(recipe, device_of("cpu"), Access(library(), offline=True))
    verdict = prepared.examination.verdict
    snapshot = resolve(parse_reference(recipe.base), Access(library(), offline=True, weights=True))
    permit = grant(verdict, recipe, None)
    run = finetune(permit, recipe, prepared.plan, snapshot, verdict, offline=True)
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


def main() -> int:
    sys.path.insert(0, str(ROOT))
    import torch

    torch.set_num_threads(1)
    for name in sys.argv[1:] or names():
        known = read(name)
        overrides = tuple(known.get("set", SHORT))
        with tempfile.TemporaryDirectory() as folder:
            losses = curve(name, overrides, Path(folder) / "run")
        moved = max((abs(a / b - 1) for a, b in zip(losses, known.get("loss", ()), strict=False)), default=None)
        value = {"set": overrides, "tolerance": known.get("tolerance", TOLERANCE), "loss": losses}
        (HERE / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        print(name, "new" if moved is None else f"moved by {moved:.1e}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
