"""`tk runs`: a list that nothing broken can hide, and two runs side by side."""

import json
import os

import pytest

from tests.release.runs import apache_run, change_record


@pytest.fixture
def runs(tmp_path):
    """A finished run, one that failed its requirements, one that was killed, and one whose record is cut off."""
    top = tmp_path / "runs"
    apache_run(top / "team" / "first")
    second = apache_run(top / "second")
    change_record(second, "started", "2026-11-23T12:00:00+00:00")
    change_record(second, "recipe.resolved.train.epochs", 1)
    change_record(second, "metrics.peak_memory_bytes", 2**31)
    change_record(second, "evaluation.after.loss", 2.6)
    failed = {"score": "loss", "requires": "< base", "base": 2.5, "limit": 2.5, "value": 2.6, "passed": False}
    change_record(second, "evaluation.gate", {"passed": False, "requirements": [failed]})
    state = {
        "schema": "tk/state/1", "state": "running", "started": "2026-11-23T13:00:00+00:00", "process": 2**22 + 1,
        "host": os.uname().nodename, "adapter": "qlora", "verdict": "allowed",
        "recipe": {"resolved": {"base": "Qwen/Qwen2.5-7B", "method": "sft"}},
    }  # fmt: skip
    (top / "third").mkdir()
    (top / "third" / "state.json").write_text(json.dumps(state))
    (top / "broken").mkdir()
    (top / "broken" / "run.json").write_text('{"schema": "tk/run/1", ')
    (top / "empty").mkdir()
    return top


def test_runs_are_listed_with_how_each_ended(tk, runs):
    done = tk("runs", runs, env={"COLUMNS": "160"})
    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "finished" in lines["team/first"]
    assert "2.5 → 1.1" in lines["team/first"]
    assert "0% → 50%" in lines["team/first"]
    assert "gate failed" in lines["second"]
    assert "not met" in lines["second"]
    assert "killed" in lines["third"]
    assert "sft qlora" in lines["third"]
    assert "damaged" in lines["broken"]
    assert "not valid JSON" in done.stdout
    assert "empty" not in lines


def test_a_narrow_terminal_gets_fewer_columns_and_no_broken_lines(tk, runs):
    done = tk("runs", runs, env={"COLUMNS": "90"})
    table = done.stdout.split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 90
    assert all(head in table[0] for head in ("run", "state", "held-out loss"))


def test_the_list_as_json_holds_every_run(tk, runs):
    found = json.loads(tk("runs", "list", runs, "--format", "json").stdout)
    assert found["schema"] == "tk/runs/1"
    assert {run["folder"]: run["state"] for run in found["runs"]} == {
        "team/first": "finished", "second": "failed-gate", "third": "killed", "broken": "damaged"
    }  # fmt: skip
    assert [run["folder"] for run in found["runs"]][1:3] == ["third", "second"]  # newest first; broken is of today


def test_two_runs_are_compared(tk, runs):
    done = tk("runs", "compare", runs / "team" / "first", runs / "second")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["train.epochs", "3", "1"] in lines
    assert ["loss", "after", "1.1", "2.6"] in lines
    assert ["peak", "memory", "1.00", "GiB", "2.00", "GiB"] in lines
    assert not [line for line in lines if line[:1] == ["train.batch_size"]]  # equal in both
    found = json.loads(tk("runs", "compare", runs / "second", runs / "team" / "first", "--format", "json").stdout)
    assert {"name": "train.epochs", "first": 1, "second": 3} in found["recipe"]


def test_a_run_that_has_not_finished_is_not_compared(tk, runs):
    done = tk("runs", "compare", runs / "third", runs / "second")
    assert done.returncode == 1
    assert "not a finished run" in done.stderr


def test_a_folder_that_does_not_exist_is_named(tk, tmp_path):
    done = tk("runs", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "no such folder" in done.stderr


def test_a_folder_without_runs_says_so(tk, tmp_path):
    assert "No runs below" in tk("runs", tmp_path).stdout
