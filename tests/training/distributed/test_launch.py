"""Starting workers, losing one, stopping them, and what becomes of their errors."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import Refused, TkError, UsageError
from toolkit.training.distributed.launch import Nodes, command, launch, own_address
from toolkit.training.distributed.order import Events, events_to, failures, note_failure
from toolkit.training.distributed.supported import require_supported
from toolkit.training.progress import Event, silent
from toolkit.training.stopping import Stopped


def test_one_machine_needs_no_meeting_point(tmp_path: Path) -> None:
    line = command(Nodes(), 4, 2, tmp_path)
    assert {"--standalone", "--nnodes=1", "--nproc-per-node=4", "--max-restarts=2"} <= set(line)


def test_the_first_node_is_told_that_it_is_the_host_and_each_says_its_address(tmp_path: Path) -> None:
    for rank in (0, 1):
        line = command(Nodes(2, rank, "node-a:29500", "job7", f"10.0.0.{rank}"), 8, 0, tmp_path)
        assert any(word.startswith(f"--rdzv-conf=is_host={1 - rank},") for word in line)
        assert f"--local-addr=10.0.0.{rank}" in line
        assert {"--rdzv-endpoint=node-a:29500", "--rdzv-id=job7", "--rdzv-backend=c10d"} <= set(line)


def test_the_own_address_is_the_one_on_the_way_to_the_endpoint() -> None:
    assert own_address("127.0.0.1:29500") == "127.0.0.1"
    with pytest.raises(TkError, match="no way from here to"):
        own_address("no-such-host.invalid:29500", patience_seconds=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((2, 0, None), "meet at one address"),
        ((2, 0, "node-a"), "meet at one address"),
        ((2, 0, "localhost:29500"), "would meet only itself"),
        ((2, 1, "127.0.0.1:29500"), "would meet only itself"),
        ((2, 2, "node-a:29500"), "2 nodes are numbered 0 to 1"),
        ((1, 1, None), "1 nodes are numbered 0 to 0"),
    ],
)
def test_nodes_that_could_not_meet_are_a_usage_error(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Nodes(*arguments)


def test_events_arrive_once_and_whole(tmp_path: Path) -> None:
    write, events = events_to(tmp_path), Events(tmp_path)
    sent = [Event("train", "training", step, 3, {"loss": 1.5}) for step in (1, 2, 3)]
    write(sent[0])
    assert events.new() == sent[:1]
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('["train", "half')
    assert events.new() == []
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write(' a line", 2, 3, {}]\n')
    assert [event.message for event in events.new()] == ["half a line"]


def test_the_failure_in_our_words_is_told_and_not_the_collective_that_broke_by_it(tmp_path: Path) -> None:
    note_failure(tmp_path, 0, RuntimeError("Connection closed by peer"))
    note_failure(tmp_path, 1, TkError("the base cannot be loaded", hint="look"))
    assert [failure["rank"] for failure in failures(tmp_path)] == [1, 0]


def test_a_plan_for_two_processes_is_not_trained_by_one(make_order: Callable[..., Any]) -> None:
    from toolkit.planning.gate import readmit
    from toolkit.training.run import finetune

    order = make_order("ddp")
    permit = readmit(order.permit, order.verdict, order.recipe)
    with pytest.raises(TkError, match="the plan is for 2 processes, and 1 run it"):
        finetune(permit, order.recipe, order.plan, order.snapshot, order.verdict)
    assert not Path(order.recipe.output).exists()


def test_a_permit_comes_through_the_gate_again_in_every_process(make_order: Callable[..., Any]) -> None:
    from toolkit.planning.gate import readmit

    order = make_order("ddp")
    permit = readmit(order.permit, order.verdict, order.recipe)
    assert permit.to_json() == order.permit
    with pytest.raises(TkError, match="another recipe or verdict"):
        readmit(order.permit, order.verdict, replace(order.recipe, output="elsewhere"))
    with pytest.raises(Refused):
        readmit(order.permit, order.verdict._replace(level="prohibited"), order.recipe)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "dpo"}, "method dpo trains on one device"),
        ({"family": "deepseek_v3", "adapter": "qlora", "sharding": "fsdp2"}, "experts of a mixture in 4 bits are not"),
    ],
)
def test_what_several_processes_cannot_train_is_said_before_anything_is_loaded(
    make_order: Callable[..., Any], change: dict[str, str], words: str
) -> None:
    method = change.pop("method", "sft")
    order = make_order(**{"sharding": "ddp", **change})
    with pytest.raises(TkError, match=words):
        require_supported(order.plan, replace(order.recipe, method=method))


@pytest.mark.slow  # each starts two processes, once or twice
class TestLaunched:
    @pytest.fixture
    def straight(self, make_order: Callable[..., Any]) -> Path:
        return launch(make_order("ddp", output="straight"), Nodes(), max_restarts=0, progress=silent)

    def test_a_lost_process_is_replaced_and_the_run_goes_on_from_its_checkpoint(
        self, make_order: Callable[..., Any], straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        killed: list[int] = []

        def kill(event: Event) -> None:
            if event.stage == "train" and event.done == 5 and not killed:
                killed.append(workers_in(tmp_path)[-1])
                os.kill(killed[0], signal.SIGKILL)

        run = launch(make_order("ddp", output="lost"), Nodes(), max_restarts=1, progress=kill)
        assert killed
        assert json.loads((run / "run.json").read_text())["metrics"]["resumed_from_step"] in (4, 6)
        assert digest(run) == digest(straight)

    def test_a_lost_process_without_restarts_is_an_error_that_says_how_to_go_on(
        self, make_order: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)

        def kill(event: Event) -> None:
            if event.stage == "train" and event.done == 1 and (found := workers_in(tmp_path)):
                os.kill(found[-1], signal.SIGKILL)

        with pytest.raises(TkError, match="a process was killed from outside") as caught:
            launch(make_order("ddp"), Nodes(), max_restarts=0, progress=kill)
        assert "goes on from the last checkpoint" in str(caught.value.hint)
        assert workers_in(tmp_path) == []

    def test_ctrl_c_stops_all_after_one_step_and_the_same_command_goes_on(
        self, make_order: Callable[..., Any], straight: Path
    ) -> None:
        order = make_order("ddp", output="stopped")

        def interrupt(event: Event) -> None:
            if event.stage == "train" and event.done == 2:
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(Stopped, match="a checkpoint is kept"):
            launch(order, Nodes(), max_restarts=1, progress=interrupt)
        run = Path(order.recipe.output)
        assert not (run / "run.json").exists()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        launch(order, Nodes(), max_restarts=0, progress=silent)
        assert json.loads((run / "run.json").read_text())["metrics"]["resumed_from_step"] >= 2
        assert digest(run) == digest(straight)

    def test_what_a_worker_says_comes_out_as_one_error_and_is_not_tried_again(
        self, make_order: Callable[..., Any], tmp_path: Path
    ) -> None:
        order = make_order("ddp")
        bare = tmp_path / "bare"
        bare.mkdir()
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            (bare / name).write_bytes((order.snapshot.folder / name).read_bytes())
        broken = replace(order, snapshot=replace(order.snapshot, folder=bare))
        with pytest.raises(TkError, match="holds no safetensors weights"):
            launch(broken, Nodes(), max_restarts=3, progress=silent)


def workers_in(place: Path) -> list[int]:
    """Process ids of the workers whose order lies in `place`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            worker = b"toolkit.training.distributed.worker" in words and b"torch.distributed.run" not in words
            if worker and any(word.startswith(str(place).encode()) for word in words):
                found.append(int(entry.name))
    return sorted(found)


def digest(run: Path) -> str:
    record = json.loads((run / "run.json").read_text())
    return str(record["adapter"]["files"]["adapter/adapter_model.safetensors"]["sha256"])
