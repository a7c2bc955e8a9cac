"""A step said in tokens instead of examples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.planning.planned import chosen, planned
from toolkit.errors import InvalidInput
from toolkit.planning.gpu import named
from toolkit.planning.recipe import load_recipe
from toolkit.planning.rows import Rows

HEAD = "base: embedded:qwen2\ndata: {train: rows.jsonl, license: own}\noutput: run\n"


def test_tokens_of_a_step_become_examples_by_the_rows_there_are() -> None:
    rows = Rows(1000, 250_000, (100, 250, 400))
    plan = planned("A100 80GB", rows=rows, tokens_per_step=16_000)
    assert chosen(plan, "batch_size") == (64,)
    assert "tokens_per_step 16,000 in rows of about 250 tokens: 16,000 expected" in plan.choices["batch_size"].why
    micro, steps = chosen(plan, "micro_batch_size", "gradient_accumulation")
    assert int(str(micro)) * int(str(steps)) == 64
    packed = planned("A100 80GB", rows=rows, tokens_per_step=16_000, packing=True)
    assert chosen(packed, "batch_size") == (64,)


def test_rows_that_were_not_counted_are_taken_as_full_ones() -> None:
    plan = planned("A100 80GB", tokens_per_step=16_384, max_length=2048)
    assert chosen(plan, "batch_size") == (8,)
    assert "as they were not counted" in plan.choices["batch_size"].why


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
def test_the_examples_are_shared_evenly_however_many_devices_there_are(gpus: int) -> None:
    plan = planned("A100 80GB", gpus=gpus, rows=Rows(1000, 250_000, (250,)), tokens_per_step=20_000)
    size, micro, steps = (
        int(str(value)) for value in chosen(plan, "batch_size", "micro_batch_size", "gradient_accumulation")
    )
    assert size == micro * steps * gpus
    assert 0.85 <= size * 250 / 20_000 <= 1.15


def test_a_single_row_larger_than_a_step_is_a_step() -> None:
    assert chosen(planned("A100 80GB", tokens_per_step=100), "batch_size") == (1,)


def test_all_gpus_are_taken_for_tokens_too_where_one_does_not_hold_the_run() -> None:
    three = replace(named("24GiB"), count=3)
    from tests.planning.planned import LLAMA_70B

    plan = planned(three, LLAMA_70B, tokens_per_step=20_000, max_length=1024)
    assert plan.gpus == 3
    assert int(str(plan.choices["batch_size"].value)) % 3 == 0


def test_batch_size_and_tokens_per_step_contradict_each_other(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(HEAD + "train:\n  batch_size: 8\n  tokens_per_step: 4000\n")
    with pytest.raises(InvalidInput, match=r"tokens_per_step: batch_size already says .*recipe.yaml:6"):
        load_recipe(str(path))
    path.write_text(HEAD + "train: {micro_batch_size: 3, tokens_per_step: 4000}\n")
    assert load_recipe(str(path)).train.tokens_per_step == 4000
