"""The recipes of real bases: each passes the gate for its own use and fits the device that its comment names."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.licensing.judge import PLAINLY
from toolkit.licensing.library import library
from toolkit.models.resolve import Access
from toolkit.planning.gate import grant
from toolkit.planning.gpu import GIB, Device, named
from toolkit.planning.prepare import Prepared, prepare
from toolkit.planning.recipe import load_recipe

RECIPES = Path(__file__).resolve().parent.parent.parent / "recipes"
LAPTOP = Device("cpu", "a laptop", 8 * GIB, 7 * GIB, 7 * GIB, 1, False, None, None, "given")
# The smallest device that a recipe's comment names, how many of it, and a word of the use that it is meant for.
MEANT_FOR: dict[str, tuple[str | Device, int, str]] = {
    "qwen-lora": ("24GiB", 1, "internal"),
    "qwen-qlora": ("12GiB", 1, "12 GB"),
    "qwen-small-lora": (LAPTOP, 1, "laptop"),
    "qwen3-8b-qlora": ("12GiB", 1, "hosted"),
    "qwen3-30b-a3b-qlora": ("24GiB", 1, "24 GB"),
    "llama-lora": ("24GiB", 1, "gives the result away"),
    "llama-qlora": ("12GiB", 1, "download"),
    "llama-70b-qlora": ("A100 80GB", 2, "hosted"),
    "deepseek-qlora": ("12GiB", 1, "12 GB"),
    "deepseek-llama-lora": ("24GiB", 1, "internal"),
    "deepseek-v2-lite-qlora": ("12GiB", 1, "hosted or given away"),
    "mistral-lora": ("24GiB", 1, "24 GB"),
    "qwen-dpo-after-sft": ("24GiB", 1, "24 GB"),
    "qwen-grpo": ("16GiB", 1, "16 GB"),
    "qwen-pretrain": ("24GiB", 1, "24 GB"),
}


def prepared(name: str) -> Prepared:
    device, gpus, _ = MEANT_FOR[name]
    given = named(device) if isinstance(device, str) else device
    recipe = load_recipe(str(RECIPES / f"{name}.yaml"))
    return prepare(recipe, given, Access(library(), offline=True), PLAINLY, gpus=gpus if gpus > 1 else None)


@pytest.mark.parametrize("name", MEANT_FOR)
def test_a_recipe_passes_its_own_gate_and_fits_what_it_is_meant_for(name: str) -> None:
    found = prepared(name)
    verdict = found.examination.verdict
    permit = grant(verdict, found.recipe)
    assert permit.recipe_sha256 == found.recipe.sha256
    assert not [finding.id for finding in verdict.findings if finding.id.startswith("planned-")]
    assert found.plan.fit == "comfortable"
    comment = " ".join(
        line.lstrip("# ") for line in (RECIPES / f"{name}.yaml").read_text().splitlines() if line[0] == "#"
    )
    assert MEANT_FOR[name][2] in comment


def test_every_recipe_of_a_real_base_is_held_to_a_device() -> None:
    real = {path.stem for path in RECIPES.glob("*.yaml") if "embedded:" not in path.read_text()}
    assert real == set(MEANT_FOR)


@pytest.mark.parametrize("name", ["llama-qlora", "llama-70b-qlora"])
def test_a_llama_that_leaves_the_house_is_named_as_its_licence_asks(name: str) -> None:
    found = prepared(name)
    owed = {item.id: item.value for item in found.examination.verdict.obligations}
    release = found.recipe.use.release
    assert release is not None
    assert owed["name-prefix"] == "Llama"
    assert str(release.name).startswith("Llama")
