"""Planned and measured side by side: two real steps of a plan, and what a run records of its memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from toolkit.cli.run_text import memory_line
from toolkit.training.encoding import Encoded
from toolkit.training.probe import Measured, probe
from toolkit.training.record import memory_facts

Papers = Callable[..., tuple[Any, ...]]


@pytest.mark.parametrize(("family", "adapter"), [("qwen2", "lora"), ("llama", "qlora")])
def test_two_real_steps_allocate_what_was_planned(papers: Papers, family: str, adapter: str) -> None:
    _, recipe, plan, snapshot, _ = papers(
        family, adapter, batch_size=4, micro_batch_size=4, max_length=256, packing=False
    )
    measured = probe(recipe, plan, snapshot)
    assert measured.planned_peak_bytes == plan.memory.peak_bytes
    assert -12 < measured.error_percent < 10  # a probe's rows are of one length and need no mask; a plan allows for one
    assert measured.tokens_per_second == pytest.approx(4 * 256 / measured.step_seconds)


def test_packed_rows_take_no_more_than_was_planned(papers: Papers) -> None:
    _, recipe, plan, snapshot, _ = papers(batch_size=4, micro_batch_size=4, max_length=256, packing=True)
    assert -30 < probe(recipe, plan, snapshot).error_percent < 0  # no mask is made, which a plan allows for


def test_a_probe_leaves_nothing_behind(papers: Papers, tmp_path: Any) -> None:
    _, recipe, plan, snapshot, _ = papers(batch_size=2, max_length=32)
    probe(recipe, plan, snapshot)
    assert not (tmp_path / "run").exists()


def test_the_record_compares_with_the_plan_for_the_longest_row_there_was(papers: Papers) -> None:
    plan = papers(max_length=128)[2]
    rows = [[1] * 20, [1] * 64]
    at_64 = plan.peak_bytes_at(64)
    facts = memory_facts(plan, Encoded(rows, rows), round(1.1 * at_64))
    assert facts["longest_row_tokens"] == 64
    assert facts["planned_peak_bytes"] == plan.memory.peak_bytes > at_64
    assert facts["planned_peak_bytes_of_longest_row"] == at_64
    assert facts["error_percent"] == pytest.approx(10, abs=0.1)


def test_the_error_is_shown_with_its_sign_and_old_records_are_still_read(papers: Papers) -> None:
    plan = papers(max_length=128)[2]
    memory = memory_facts(plan, Encoded([[1] * 64], [[1] * 64]), round(0.9 * plan.peak_bytes_at(64)))
    line = memory_line({"memory": memory})
    assert "resident at its peak" in line
    assert "planned for rows of 64 tokens (-10.0 %)" in line
    old = {"metrics": {"peak_memory_bytes": 2**30, "planned_peak_bytes": 2**31}}
    assert memory_line(old) == "Memory: 1.00 GiB at its peak, 2.00 GiB planned"


def test_a_probe_says_how_far_it_was_off() -> None:
    assert Measured(110, 100, 1.0, 1.0).error_percent == pytest.approx(10)


def test_a_plan_shows_what_its_probe_measured() -> None:
    from click.testing import CliRunner

    from toolkit.cli.plan import command

    small = ["--set", "train.batch_size=2", "--set", "train.max_length=64"]
    done = CliRunner().invoke(command, ["recipes/embedded-qwen-lora.yaml", "--probe", "--gpu", "cpu", *small])
    assert done.exit_code == 0, done.output
    assert "Two steps of the longest rows, run here" in done.stdout
    assert "planned (" in done.stdout
