"""Real runs that are watched: metrics, requirements, checks in between, trackers, tasks, checkpoints, and what is left."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import InvalidInput, NotFulfilled, TkError
from toolkit.planning.recipe_values import SaveSettings
from toolkit.release.bundle import release
from toolkit.release.card import render_card
from toolkit.release.record import read_record
from toolkit.release.runs import list_runs
from toolkit.training.progress import Event
from toolkit.training.run import finetune
from toolkit.training.stopping import Stopped

Papers = Callable[..., tuple[Any, ...]]


def changed(papers: tuple[Any, ...], evaluate: dict[str, Any] | None = None, **recipe: Any) -> tuple[Any, ...]:
    """The papers of a run with another recipe, the permit for it included."""
    from toolkit.planning.gate import grant

    _, old, plan, snapshot, verdict = papers
    new = replace(old, evaluate=replace(old.evaluate, **(evaluate or {})), **recipe)
    return grant(verdict, new), new, plan, snapshot, verdict


def curve(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def first_use_of_trackio(monkeypatch: pytest.MonkeyPatch) -> None:
    """trackio takes its folder when it is first imported, which TRL's GRPO may have done in another test."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("first_use_of_trackio")
def test_a_run_keeps_the_figures_of_its_metrics_requirements_and_checks(papers: Papers, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def words(answer, expected): return len(answer.split())\n")
    evaluate = {
        "metric": ("exact-match", "f1", f"{tmp_path / 'own.py'}:words"), "samples": 2, "every": 0.25,
        "require": {"loss": "< base", "f1": ">= 2"},
    }  # fmt: skip
    events: list[Event] = []
    run = finetune(*changed(papers(), evaluate, track={"tensorboard": {}, "trackio": {}}), progress=events.append)

    record: Any = read_record(run)
    evaluation = record["evaluation"]
    assert set(evaluation["after"]) == {"loss", "perplexity", "exact_match", "f1", "words"}
    assert len(evaluation["samples"]) == 2
    assert evaluation["functions"][0]["function"] == "words"
    assert evaluation["gate"]["passed"] is False
    assert [item["passed"] for item in evaluation["gate"]["requirements"]] == [True, False]

    lines = curve(run)
    assert [line["step"] for line in lines if "loss" in line] == [*range(1, 9)]
    assert [line["step"] for line in lines if "eval_loss" in line] == [2, 4, 6]
    assert all(line["seconds"] > 0 and line["memory_bytes"] > 0 for line in lines if "loss" in line)
    assert sum(line.get("tokens", 0) for line in lines) == record["metrics"]["tokens_seen"]
    assert any("held-out" in event.message and "eval_loss" in event.values for event in events)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run / "tracking" / "tensorboard")).Reload()
    assert [round(point.value, 4) for point in board.Scalars("train/loss")] == [
        round(line["loss"], 4) for line in lines if "loss" in line
    ]
    assert {"before/loss", "after/loss", "after/f1"} <= set(board.Tags()["scalars"])
    assert (run / "tracking" / "trackio" / "tk.db").stat().st_size > 0

    (listed,) = list_runs(run)
    assert (listed.state, listed.gate) == ("failed-gate", False)
    card = render_card(record)
    assert "What the recipe required of it was **not met**." in card
    assert "| `f1` | `>= 2` |" in card
    with pytest.raises(NotFulfilled, match=r"does not meet what its recipe requires: f1 .*, required >= 2") as caught:
        release(run, tmp_path / "release", name=None, attestations={}, license_files={})
    assert caught.value.exit_code == 5
    assert not (tmp_path / "release").exists()


def test_checks_in_between_change_nothing(papers: Papers) -> None:
    plain: Any = read_record(finetune(*papers(output="plain")))
    checked: Any = read_record(finetune(*changed(papers(output="checked"), {"every": 0.25})))
    name = "adapter/adapter_model.safetensors"
    assert checked["adapter"]["files"][name] == plain["adapter"]["files"][name]


def test_a_release_needs_the_record_to_say_that_requirements_were_met(papers: Papers, tmp_path: Path) -> None:
    run = finetune(*changed(papers(), {"require": {"loss": "< base"}}))
    record = json.loads((run / "run.json").read_text())
    assert record["evaluation"]["gate"]["passed"] is True
    del record["evaluation"]["gate"]
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(NotFulfilled, match="its record does not say that it passed"):
        release(run, tmp_path / "release", name=None, attestations={}, license_files={})


def test_held_out_loss_that_rises_is_said(tmp_path: Path) -> None:
    from toolkit.training.checkup import Checkup
    from toolkit.training.curve import Curve

    losses = iter([2.0, 1.5, 1.6, 1.7, 1.8])
    said: list[str] = []
    check = Checkup(
        0.1, lambda: next(losses), Curve(tmp_path / "metrics.jsonl"), lambda event: said.append(event.message)
    )
    for step in range(1, 6):
        check(Event("train", "training", step, 10, {"loss": 1.0}))
    assert [message for message in said if "has risen" in message] == [
        "held-out loss has risen to 1.7 from 1.5: the adapter learns the rows by heart; "
        "fewer train.epochs or a lower train.learning_rate may serve better"
    ]


def test_a_task_of_lm_eval_is_measured_before_and_after(papers: Papers, tmp_path: Path) -> None:
    rows = [
        {"question": f"where is my order number {n}", "choices": ["your order is on its way", "xyz"], "answer": 0}
        for n in range(4)
    ]
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = tmp_path / "tasks" / "orders.yaml"
    task.write_text(
        f"task: tk_orders\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path}/tasks/rows.jsonl}}}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{question}} '\ndoc_to_choice: choices\n"
        "doc_to_target: answer\nmetric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    evaluate = {"fraction": 0.0, "generate": 0, "tasks": (str(task),), "require": {"tk_orders/acc": ">= 0"}}
    record: Any = read_record(finetune(*changed(papers(output="tasks"), evaluate)))
    assert set(record["evaluation"]["after"]) == {"tk_orders/acc"}
    assert record["evaluation"]["tasks"][0]["task"] == "tk_orders"
    assert record["evaluation"]["gate"]["passed"] is True

    wrong = {**evaluate, "require": {"tk_orders/accuracy": ">= 0"}}
    with pytest.raises(InvalidInput, match="is no score of this run; it has tk_orders/acc"):
        finetune(*changed(papers(output="wrong"), wrong))
    assert not (tmp_path / "wrong" / "metrics.jsonl").exists()  # known before the first step
    (stopped,) = list_runs(tmp_path / "wrong")
    assert stopped.state == "failed"


def test_what_is_not_installed_or_would_use_the_network_is_named_before_the_base_is_loaded(
    papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.training import tasks, tracking

    def nothing_loads(*_: Any) -> None:
        raise AssertionError("the base was loaded")

    monkeypatch.setattr("toolkit.training.run.load_adapted", nothing_loads)
    with pytest.raises(InvalidInput, match=r"recipe\.track\.wandb: sends to a server"):
        finetune(*changed(papers(), track={"wandb": {"mode": "online"}}), offline=True)
    with pytest.raises(InvalidInput, match=r"recipe\.track\.mlflow: sends to a server"):
        finetune(*changed(papers(), track={"mlflow": {"uri": "https://mlflow.acme.example"}}), offline=True)
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    monkeypatch.setattr(tasks, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="its package is not installed") as caught:
        finetune(*changed(papers(), track={"trackio": {}, "mlflow": {}}))
    assert "pip install 'tk-toolkit[trackio,mlflow]'" in str(caught.value.hint)
    with pytest.raises(InvalidInput, match="lm-evaluation-harness is not installed") as caught:
        finetune(*changed(papers(), {"tasks": ("arc_easy",)}))
    assert "tk-toolkit[eval]" in str(caught.value.hint)


def test_a_tracker_that_breaks_does_not_end_the_training(papers: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.training.tracking.tensorboard import TensorBoard

    def breaks(self: Any, step: int, values: Any) -> None:
        raise OSError("the disk of the tracker is full")

    monkeypatch.setattr(TensorBoard, "log", breaks)
    events: list[Event] = []
    run = finetune(*changed(papers(), track={"tensorboard": {}}), progress=events.append)
    assert read_record(run)["metrics"]["steps"] == 8  # type: ignore[index]
    assert sum("tensorboard failed and is left out" in event.message for event in events) == 1


def test_a_checkpoint_is_written_right_after_the_first_step_and_when_time_is_up(papers: Papers) -> None:
    def interrupt(event: Event) -> None:
        if event.done == 2 and event.stage == "train":
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        finetune(*papers(output="first", save=SaveSettings("10h")), progress=interrupt)
    assert [path.name for path in Path(papers(output="first")[1].output).glob("checkpoints/checkpoint-*")] == [
        "checkpoint-1"
    ]
    (listed,) = list_runs(Path(papers(output="first")[1].output))
    assert (listed.state, listed.says) == ("failed", "RuntimeError: killed")
    often = Path(finetune(*papers(output="often", save=SaveSettings("0.0001s", 3))))
    assert {path.name for path in often.glob("checkpoints/checkpoint-*")} == {
        "checkpoint-6", "checkpoint-7", "checkpoint-8"
    }  # fmt: skip


def test_a_checkpoint_that_cannot_be_written_is_one_clear_error_and_the_last_whole_one_stays(papers: Papers) -> None:
    arguments = papers(output="full", save=SaveSettings(0.25))
    run = Path(arguments[1].output)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(event: Event) -> None:
        if event.stage == "train" and event.done == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # as a full disk: writes end in the middle

    try:
        with pytest.raises(TkError, match=r"cannot save the checkpoint of step 4: .*the checkpoint of step 2 is whole"):
            finetune(*arguments, progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert {path.name for path in run.glob("checkpoints/checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}
    record: Any = read_record(finetune(*arguments))
    assert record["metrics"]["resumed_from_step"] == 2


def test_a_stop_is_answered_at_once_and_a_killed_run_is_listed_as_such(papers: Papers) -> None:
    arguments = papers(output="stopped")
    said: list[str] = []

    def interrupt(event: Event) -> None:
        said.append(event.stage)
        if event.stage == "train" and event.done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped):
        finetune(*arguments, progress=interrupt)
    assert said.count("stopping") == 1
    run = Path(arguments[1].output)
    assert list_runs(run)[0].state == "stopped"
    state = json.loads((run / "state.json").read_text())
    (run / "state.json").write_text(json.dumps({**state, "state": "running", "process": 2**22 + 1}))
    assert list_runs(run)[0].state == "killed"
    assert list_runs(run)[0].adapter == "lora"
    (run / "state.json").write_text(json.dumps({**state, "state": "running", "process": os.getpid()}))
    assert list_runs(run)[0].state == "running"


@pytest.mark.parametrize("adapter", ["lora", "qlora"])
def test_four_steps_equal_two_a_kill_and_two_more(adapter: str, papers: Papers) -> None:
    from toolkit.training.data import load_data
    from toolkit.training.resume_proof import verify_resume

    _, recipe, plan, snapshot, _ = papers("qwen2", adapter)
    proof = verify_resume(recipe, plan, snapshot, load_data(recipe))
    assert proof.exact
    assert proof.holds
    assert len(proof.whole_losses) == len(set(proof.whole_losses)) == 4
    assert not Path(recipe.output).exists()


def test_a_resume_that_forgets_the_optimiser_is_found_out(papers: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Trainer

    from toolkit.training.data import load_data
    from toolkit.training.resume_proof import verify_resume

    monkeypatch.setattr(Trainer, "_load_optimizer_and_scheduler", lambda self, checkpoint: None)
    _, recipe, plan, snapshot, _ = papers()
    proof = verify_resume(recipe, plan, snapshot, load_data(recipe))
    assert not proof.exact
    assert not proof.holds
    assert proof.largest_difference > 0


@pytest.mark.slow
def test_mlflow_and_wandb_keep_a_run_in_its_folder(papers: Papers, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody asked for it in the recipe
    monkeypatch.setenv("WANDB_MODE", "online")
    run = finetune(*changed(papers(), track={"mlflow": {}, "wandb": {}}))
    client = MlflowClient(tracking_uri=f"sqlite:///{run / 'tracking' / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tk")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.data.params["train.batch_size"] == "8"
    assert kept.data.tags["tk.verdict"] == "allowed"
    assert kept.data.tags["tk.licenses"] == "apache-2.0"
    assert kept.data.tags["tk.run"] == read_record(run)["id"]
    losses = [point.value for point in client.get_metric_history(kept.info.run_id, "train/loss")]
    assert losses == [line["loss"] for line in curve(run) if "loss" in line]
    assert list((run / "tracking" / "wandb").rglob("*.wandb"))
