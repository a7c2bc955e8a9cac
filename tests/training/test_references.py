"""The first losses of every embedded recipe beside those that lie in tests/references: training has not changed unseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.references.make import HERE, SHORT, curve, names, read
from toolkit.training.encoding import IGNORED

QWEN = "embedded-qwen-lora"


def moved(name: str, losses: list[float]) -> float:
    """The largest relative distance of a loss from the reference's."""
    return max(abs(mine / theirs - 1) for mine, theirs in zip(losses, read(name)["loss"], strict=True))


def test_every_embedded_recipe_has_a_reference_and_every_reference_a_recipe() -> None:
    found = sorted(path.stem for path in HERE.glob("*.json"))
    assert found == names(), "write the missing ones: python tests/references/make.py NAME"
    assert all(read(name)["loss"] for name in found)


@pytest.mark.parametrize("name", names())
def test_a_recipe_trains_as_its_reference_says(name: str, tmp_path: Path) -> None:
    reference = read(name)
    losses = curve(name, tuple(reference["set"]), tmp_path / "run")
    assert moved(name, losses) <= reference["tolerance"], (
        f"the losses were {reference['loss']} and are {losses}; where that is meant: "
        f"python tests/references/make.py {name}"
    )


def test_a_learning_rate_that_is_a_hundredth_off_would_be_seen(tmp_path: Path) -> None:
    from tests.references.make import RECIPES
    from toolkit.planning.recipe import load_recipe

    told = load_recipe(str(RECIPES / f"{QWEN}.yaml")).train.learning_rate
    assert told is not None
    losses = curve(QWEN, (*SHORT, f"train.learning_rate={1.01 * told}"), tmp_path / "run")
    assert losses[0] == pytest.approx(read(QWEN)["loss"][0], rel=read(QWEN)["tolerance"])  # before the first update
    assert moved(QWEN, losses) > 2 * read(QWEN)["tolerance"]


def test_one_token_left_out_of_a_step_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from toolkit.training.methods import sft

    encode = sft.encode

    def without_one(*arguments: Any) -> Any:
        whole = encode(*arguments)
        if not whole.rows:
            return whole
        first = torch.randperm(whole.rows, generator=torch.Generator().manual_seed(42)).tolist()[0]
        labels = [list(row) for row in whole.labels]
        counted = [place for place, label in enumerate(labels[first]) if label != IGNORED]
        labels[first][counted[-1]] = IGNORED
        return replace(whole, labels=labels)

    monkeypatch.setattr(sft, "encode", without_one)
    losses = curve(QWEN, (*SHORT, "train.max_steps=2"), tmp_path / "run")
    assert abs(losses[0] / read(QWEN)["loss"][0] - 1) > 2 * read(QWEN)["tolerance"]
