"""Streamed rows: every row once a pass, the shares that weights ask for, no more memory for more rows, exact resume."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import InvalidInput, TkError
from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import DataSettings, DataSource, EvaluateSettings, TrainSettings
from toolkit.training.data import load_data
from toolkit.training.stream import HEAD, Stream

Papers = Callable[..., tuple[Any, ...]]
ROOT = Path(__file__).resolve().parent.parent.parent


def write(path: Path, count: int, word: str = "question") -> str:
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps({"prompt": f"{word} {number}", "completion": "answer"}) + "\n")
    return str(path)


def recipe_of(train: Any, fraction: float = 0.0, max_steps: int | None = None, seed: int = 42, **data: Any) -> Recipe:
    return Recipe(
        "embedded:qwen2", DataSettings(train, streaming=True, **data), "run", "recipes/test.yaml",
        train=TrainSettings(max_steps=max_steps, seed=seed), evaluate=EvaluateSettings(fraction=fraction),
    )  # fmt: skip


def stream_of(recipe: Recipe) -> Stream:
    stream = load_data(recipe).stream
    assert stream is not None
    return stream


def test_a_pass_shows_every_row_once_in_an_order_of_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", 50)
    passes = [
        [example.where for example in islice(stream_of(recipe_of(path, seed=seed)).examples(), 100)]
        for seed in (1, 1, 2)
    ]
    assert set(Counter(passes[0][:50]).values()) == {1} == set(Counter(passes[0][50:]).values())
    assert passes[0] == passes[1] != passes[2]
    assert passes[0][:50] != passes[0][50:]
    assert passes[0][:50] != sorted(passes[0][:50])


def test_weights_are_kept_all_the_way_and_the_shorter_source_begins_anew(tmp_path: Path) -> None:
    long, short = write(tmp_path / "long.jsonl", 90, "long"), write(tmp_path / "short.jsonl", 10, "short")
    data = load_data(recipe_of((DataSource(long, weight=3), DataSource(short, weight=1)), max_steps=5))
    assert data.stream is not None
    seen = [example.messages[0]["content"].split()[0] for example in islice(data.stream._mixed(), 120)]
    assert Counter(seen) == {"long": 90, "short": 30}
    assert all(abs(Counter(seen[:at])["short"] - at / 4) <= 1 for at in range(1, 121))


def test_held_out_prompts_never_come_and_the_length_is_counted(tmp_path: Path) -> None:
    data = load_data(recipe_of(write(tmp_path / "rows.jsonl", 200), 0.1))
    assert data.stream is not None
    assert (len(data.held_out), data.stream.examples_per_epoch) == (20, 180)
    held = {example.split_key for example in data.held_out}
    assert not held & {example.split_key for example in islice(data.stream.examples(), 180)}


def test_a_bad_row_is_named_before_training_or_when_it_comes(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "rows.jsonl", HEAD))
    with path.open("a") as file:
        file.write('{"prompt": "late", "completion": " "}\n')
    line = rf"rows\.jsonl:{HEAD + 1}: 'completion' is empty"
    with pytest.raises(InvalidInput, match=line):  # the length has to be known, so every row is looked at
        load_data(recipe_of(str(path)))
    stream = stream_of(recipe_of(str(path), max_steps=3))
    with pytest.raises(InvalidInput, match=line):
        list(islice(stream.examples(), HEAD + 1))
    (tmp_path / "early.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{\n')
    with pytest.raises(InvalidInput, match=r"early\.jsonl:2: not valid JSON"):
        load_data(recipe_of(str(tmp_path / "early.jsonl"), max_steps=3))


def test_a_streamed_run_goes_on_exactly_where_it_was_stopped(papers: Papers, tmp_path: Path, support: Path) -> None:
    from toolkit.planning.gate import grant
    from toolkit.release.record import read_record
    from toolkit.training.progress import Event
    from toolkit.training.run import finetune
    from toolkit.training.stopping import Stopped

    def arguments(output: str) -> tuple[Any, ...]:
        _, recipe, plan, snapshot, verdict = papers(output=output, max_steps=None, epochs=1)
        recipe = replace(recipe, data=replace(recipe.data, streaming=True))
        return grant(verdict, recipe), recipe, plan, snapshot, verdict

    def interrupt(event: Event) -> None:
        if event.stage == "train" and event.done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    straight: Any = read_record(finetune(*arguments("straight")))
    assert straight["metrics"]["steps"] == 6  # 48 rows, 8 at a time
    assert straight["metrics"]["epochs"] == 1
    assert straight["metrics"]["tokens_seen"] == straight["data"]["train"]["tokens"]
    with pytest.raises(Stopped, match="stopped after step 4 of 6"):
        finetune(*arguments("stopped"), progress=interrupt)
    resumed: Any = read_record(finetune(*arguments("stopped")))
    assert resumed["metrics"]["resumed_from_step"] == 4
    weights = "adapter/adapter_model.safetensors"
    assert resumed["adapter"]["files"][weights] == straight["adapter"]["files"][weights]


def test_streamed_rows_that_are_too_long_are_divided(papers: Papers, tmp_path: Path) -> None:
    from toolkit.planning.gate import grant
    from toolkit.release.record import read_record
    from toolkit.training.run import finetune

    path = tmp_path / "long.jsonl"
    rows = [
        {"prompt": f"where is order {number}", "completion": "your parcel is on its way " * 12} for number in range(20)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, recipe, plan, snapshot, verdict = papers(data=path, max_steps=3, max_length=64)
    recipe = replace(recipe, data=replace(recipe.data, streaming=True))
    with pytest.raises(InvalidInput, match="longer than 64 tokens"):
        finetune(grant(verdict, recipe), recipe, plan, snapshot, verdict)
    recipe = replace(recipe, data=replace(recipe.data, on_overlength="split"))
    record: Any = read_record(finetune(grant(verdict, recipe), recipe, plan, snapshot, verdict))
    assert record["data"]["overlength"]["pieces"] > record["data"]["overlength"]["rows"] > 0
    assert record["memory"]["longest_row_tokens"] <= 64
    trained, of = record["metrics"]["steps"] * 8, record["data"]["train"]["rows"]
    pieces = record["data"]["overlength"]["pieces"] / record["data"]["overlength"]["of_rows"]
    assert record["metrics"]["epochs"] == pytest.approx(trained / pieces / of, abs=1.5 / of)  # of rows, not of pieces
    assert any("were divided into" in note for note in record["notes"])


def test_a_stream_of_unknown_length_asks_for_the_number_of_steps(tmp_path: Path) -> None:
    stream = replace(stream_of(recipe_of(write(tmp_path / "rows.jsonl", 9))), examples_per_epoch=None)

    class NoSteps:
        max_steps = None

    with pytest.raises(TkError, match=r"needs train\.max_steps"):
        stream.steps(NoSteps())  # type: ignore[arg-type]


@pytest.mark.slow
def test_memory_does_not_grow_with_rows(tmp_path: Path) -> None:
    """Peak of a process that passes over all rows, of ten thousand and of a million."""
    peaks = []
    for count in (20_000, 1_000_000):
        path = write(tmp_path / "rows.jsonl", count)
        program = (
            "import sys\nfrom itertools import islice\nfrom tests.training.test_stream import recipe_of, stream_of, peak\n"
            "stream = stream_of(recipe_of(sys.argv[1], max_steps=1))\n"
            "assert sum(1 for _ in islice(stream.examples(), int(sys.argv[2]))) == int(sys.argv[2])\n"
            "print(peak())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, path, str(count)], cwd=ROOT, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 8 * 2**20


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
