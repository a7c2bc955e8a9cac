"""What a method cannot learn from is known before a model is loaded, in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import InvalidInput, TkError
from toolkit.planning.method_settings import GrpoSettings
from toolkit.planning.recipe import load_recipe
from toolkit.training.examples import examples_of
from toolkit.training.preferences import Judged, Pair, Task
from toolkit.training.rewards import load_rewards
from toolkit.training.rows import Row, Source

HERE = Path(__file__).parent
PAIR = {"prompt": "a", "chosen": "b", "rejected": "c"}


def source(*values: Any) -> Source:
    return Source("x.jsonl", tuple(Row(value, f"x.jsonl:{line}") for line, value in enumerate(values, 1)), "0", 0)


@pytest.mark.parametrize(
    ("method", "row", "said"),
    [
        ("sft", PAIR, "format preference, which method sft cannot learn from; dpo, orpo can"),
        ("dpo", {"messages": []}, "format messages, which method dpo cannot learn from; sft can"),
        ("kto", PAIR, "method kto cannot learn from"),
        ("grpo", {"text": "a"}, "method grpo cannot learn from"),
        ("pretrain", {"prompt": "a", "completion": "b"}, "method pretrain cannot learn from"),
        ("orpo", {"question": "a"}, "has question; a row needs prompt, chosen and rejected"),
    ],
)
def test_rows_of_another_method_are_named(method: str, row: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        examples_of(source(row), method=method)


@pytest.mark.parametrize(
    ("method", "row", "said"),
    [
        ("dpo", {**PAIR, "rejected": "b"}, "the same answer as chosen and as rejected"),
        ("dpo", {**PAIR, "rejected": " "}, "'rejected' is empty"),
        ("dpo", {**PAIR, "prompt": [{"role": "assistant", "content": "x"}]}, "ends with the assistant"),
        ("kto", {"prompt": "a", "completion": "b", "label": "maybe"}, "'label' must be true or false"),
        ("grpo", {"prompt": 3}, "'prompt' must be text or a list of messages"),
    ],
)
def test_every_bad_row_is_told_with_its_line(method: str, row: dict[str, Any], said: str) -> None:
    good = {"dpo": PAIR, "kto": {"prompt": "a", "completion": "b", "label": True}, "grpo": {"prompt": "a"}}[method]
    with pytest.raises(InvalidInput, match=rf"x\.jsonl:2: .*{said}"):
        examples_of(source(good, row), method=method)


def test_pairs_of_whole_conversations_share_their_beginning() -> None:
    asked, good, bad = ({"role": role, "content": text} for role, text in
                        (("user", "q"), ("assistant", "yes"), ("assistant", "no")))  # fmt: skip
    found, (pair,) = examples_of(source({"chosen": [asked, good], "rejected": [asked, bad]}), method="dpo")
    assert isinstance(pair, Pair)
    assert (found, pair.turns, pair.rejected[-1]["content"]) == ("preference", 1, "no")
    _, (judged,) = examples_of(source({"prompt": "q", "completion": "yes", "label": 1}), method="kto")
    assert isinstance(judged, Judged)
    assert judged.label is True
    _, (task,) = examples_of(source({"prompt": "q", "answer": 4}), method="grpo")
    assert isinstance(task, Task)
    assert (task.prompt, task.answer) == (({"role": "user", "content": "q"},), "4")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("method: dpo\ngrpo: {beta: 0.1}", "recipe.grpo: is for grpo; the method is dpo"),
        ("method: dpo\npreference: {loss: kto}", "'kto' is no loss of dpo"),
        ("method: orpo\npreference: {desirable_weight: 2}", "is for kto alone"),
        ("method: kto\ntrain: {micro_batch_size: 1}", "must be 2 or more"),
        ("method: dpo\ndata: {train: x.jsonl, on_overlength: truncate}", "compares whole answers"),
        ("method: grpo\ngrpo: {reward: format}", "needs a regular expression"),
        ("method: grpo\ngrpo: {reward: ../other.py:f}", "code from elsewhere is not run"),
        ("method: grpo\ngrpo: {reward: exact}", "did you mean 'exact-match'"),
        ("method: grpo\ntrain: {max_length: 256}", "leaves no room for a prompt"),
        ("method: pretrain\ndata: {train: x.jsonl, format: alpaca}", "pretrain cannot learn from alpaca"),
    ],
)
def test_a_recipe_that_contradicts_its_method_says_where(lines: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    data = "" if "data:" in lines else "data: x.jsonl\n"
    path.write_text(f"base: embedded:qwen2\noutput: runs/x\n{data}{lines}\n")
    with pytest.raises(InvalidInput, match=said):
        load_recipe(str(path))


def test_a_reward_function_is_told_what_is_wrong_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    tasks = (Task("x:1", ({"role": "user", "content": "q"},), columns={"answer": "4"}),)

    def load(name: str) -> Any:
        return load_rewards(GrpoSettings(reward=(name,)), "r.yaml", tasks)[0]

    assert load("rewards.py:has_e")(tasks, ["eel"], [[1]]) == [2 / 3]
    with pytest.raises(TkError, match="wants_more asks for difficulty"):
        load("rewards.py:wants_more")
    with pytest.raises(TkError, match="gave a list of 1 for 2 completions"):
        load("rewards.py:too_few")(tasks * 2, ["a", "b"], [[1], [2]])
    with pytest.raises(TkError, match="fails failed: KeyError"):
        load("rewards.py:fails")(tasks, ["a"], [[1]])
    with pytest.raises(InvalidInput, match="has no 'answer'"):
        load_rewards(GrpoSettings(), "r.yaml", (Task("x:1", tasks[0].messages),))


def test_too_few_prompts_for_a_step_are_told(method_papers: Callable[..., Any]) -> None:
    from toolkit.training.data import load_data

    with pytest.raises(InvalidInput, match="64 prompts make a step, and 32 are left"):
        load_data(method_papers("grpo", batch_size=64, micro_batch_size=16)[1])


def test_dpo_goes_on_with_the_adapter_of_an_earlier_run(method_papers: Callable[..., Any]) -> None:
    from toolkit.release.record import read_record
    from toolkit.training.run import finetune

    first = finetune(*method_papers("pretrain", output="first", max_steps=2))
    run = finetune(*method_papers("dpo", output="second", start=str(first), max_steps=2))
    earlier, record = read_record(first), read_record(run)
    start: Any = record["adapter"]["start"]  # type: ignore[index]
    assert (start["run"], start["method"]) == (earlier["id"], "pretrain")
    assert start["datasets"][0]["license"] == "CC-BY-4.0"
    curve = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert curve[0]["margin"] == pytest.approx(0.0, abs=1e-5)  # the reference is the adapter it began with
    with pytest.raises(InvalidInput, match="was trained on another base"):
        finetune(*method_papers("dpo", family="llama", output="third", start=str(first)))
