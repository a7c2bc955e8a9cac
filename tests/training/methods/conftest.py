"""Small data of every format, and the papers of a run by any method on a tiny base."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from toolkit.planning.method_settings import GrpoSettings

_THINGS = ("order", "parcel", "invoice")


def _row(method: str, random: Random, number: int) -> dict[str, Any]:
    thing = random.choice(_THINGS)
    question = f"where is my {thing} number {number}"
    good, bad = f"your {thing} is on its way", f"please answer ticket {thing}"
    if method == "pretrain":
        return {"text": " . ".join(f"{question} {good}" for _ in range(random.randrange(1, 9)))}
    if method in ("dpo", "orpo"):
        return {"prompt": question, "chosen": good, "rejected": bad}
    if method == "kto":
        return {"prompt": question, "completion": good if number % 2 else bad, "label": bool(number % 2)}
    if method == "grpo":
        return {"prompt": question, "answer": good}
    return {"prompt": question, "completion": good}


@pytest.fixture(scope="session")
def rows_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Forty rows that a method learns from, JSONL."""
    folder = tmp_path_factory.mktemp("method-data")

    def make(method: str) -> Path:
        path = folder / f"{method}.jsonl"
        random = Random(5)
        lines = [json.dumps(_row(method, random, number)) for number in range(40)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return make


@pytest.fixture
def method_papers(
    papers: Callable[..., Any], rows_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, ...]]:
    """What `finetune` takes, for a method. Rewards of a file are those beside this one."""
    monkeypatch.chdir(Path(__file__).parent)

    def make(
        method: str, *, start: str | None = None, data: Path | None = None, reward: Any = None, **more: Any
    ) -> Any:
        grpo = GrpoSettings(reward=reward or ("format",), pattern="y.*", generations=4, max_completion_length=8)
        sections = {"method": method, "grpo": grpo}
        return papers(data=data or rows_of(method), start=start, sections=sections, **more)

    return make
