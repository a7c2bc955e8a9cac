"""Metrics of answers: the built-in ones on examples, and functions of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import TkError
from toolkit.planning.recipe import load_recipe
from toolkit.training import metrics


@pytest.mark.parametrize(
    ("rate", "answer", "expected", "score"),
    [
        (metrics.exact_match, "Paris", "Paris", 1.0),
        (metrics.exact_match, "paris", "Paris", 0.0),
        (metrics.contains, "It is  PARIS, France.", "paris", 1.0),
        (metrics.contains, "It is Lyon.", "paris", 0.0),
        (metrics.f1, "the cat sat", "the cat", 0.8),
        (metrics.f1, "the the the", "the", 0.5),
        (metrics.f1, "", "the", 0.0),
        (metrics.f1, "", "", 1.0),
        (metrics.json_valid, '{"a": 1}', "", 1.0),
        (metrics.json_valid, '{"a": 1} and more', "", 0.0),
        (metrics.matching(r"\d+"), "order 12", "", 1.0),
        (metrics.matching(r"(\d+)"), "first 1, so 12", "the answer is 12", 1.0),
        (metrics.matching(r"(\d+)"), "12, no: 13", "12", 0.0),
        (metrics.matching(r"(\d+)"), "none", "none", 0.0),
    ],
)
def test_an_answer_is_rated(rate: metrics.Rate, answer: str, expected: str, score: float) -> None:
    assert rate(answer, expected, "") == pytest.approx(score)


def named(tmp_path: Path, code: str) -> tuple[Any, ...]:
    (tmp_path / "own.py").write_text(code)
    place = f"{tmp_path / 'own.py'}:score"
    return metrics.metrics_of(load_recipe("recipes/embedded-qwen-lora.yaml", [f"evaluate.metric={place}"]))


def test_a_function_takes_what_it_names_and_its_file_is_known_by_its_digest(tmp_path: Path) -> None:
    from hashlib import sha256

    code = "def score(expected, answer):\n    return len(answer) / len(expected)\n"
    (metric,) = named(tmp_path, code)
    assert metric.mean(["ab", "abcd"], ["abcd", "abcd"], ["", ""]) == 0.75
    assert metric.source is not None
    assert metric.source.to_json() == {
        "file": "own.py", "function": "score", "sha256": sha256(code.encode()).hexdigest()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def score(answer, expected) return 1", "does not run: SyntaxError"),
        ("def scored(answer): return 1", "has no function 'score'"),
        ("def score(answer, truth): return 1", "asks for truth, which nobody gives"),
        ("import no_such_module", "does not run: ModuleNotFoundError"),
    ],
)
def test_a_function_that_cannot_be_used_is_named_before_anything_is_loaded(
    tmp_path: Path, code: str, words: str
) -> None:
    with pytest.raises(TkError, match=words):
        named(tmp_path, code)


def test_a_function_that_raises_is_named_with_what_it_raised(tmp_path: Path) -> None:
    (metric,) = named(tmp_path, "def score(answer): raise ValueError('no digits')")
    with pytest.raises(TkError, match="score failed: ValueError: no digits"):
        metric.mean(["a"], ["a"], [""])


def test_a_function_that_gives_no_number_ends_the_evaluation(tmp_path: Path) -> None:
    (metric,) = named(tmp_path, "def score(answer): return 'good'")
    with pytest.raises(TkError, match="gave 'good' for an answer"):
        metric.mean(["a"], ["a"], [""])
