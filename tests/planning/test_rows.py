"""Rows are counted without a tokenizer, and padding follows from how their lengths differ."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import DataSettings, EvaluateSettings, TrainSettings
from toolkit.planning.rows import Rows, rows_of


def recipe(path: Path, *, fraction: float = 0.0, max_length: int = 2048, held_out: str | None = None) -> Recipe:
    return Recipe(
        base="embedded:qwen2",
        data=DataSettings(str(path), eval=held_out),
        output="runs/x",
        path=str(path.parent / "x.yaml"),
        train=TrainSettings(max_length=max_length),
        evaluate=EvaluateSettings(fraction=fraction),
    )


def written(path: Path, texts: list[str]) -> Path:
    rows = [json.dumps({"messages": [{"role": "user", "content": text}]}) for text in texts]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_token_is_four_bytes_and_each_message_has_a_few_of_its_own(tmp_path: Path) -> None:
    rows = rows_of(recipe(written(tmp_path / "data.jsonl", ["x" * 400] * 50)))
    assert rows is not None
    assert rows.count == 50
    assert rows.tokens == pytest.approx(50 * 106, rel=0.02)


def test_held_out_rows_are_not_trained_on(tmp_path: Path) -> None:
    path = written(tmp_path / "data.jsonl", ["x" * 40] * 100)
    counts = [rows_of(recipe(path, fraction=fraction)).count for fraction in (0.0, 0.1)]  # type: ignore[union-attr]
    assert counts == [100, 90]
    elsewhere = rows_of(recipe(path, fraction=0.1, held_out="other.jsonl"))
    assert elsewhere is not None
    assert elsewhere.count == 100


def test_a_row_counts_no_more_than_max_length(tmp_path: Path) -> None:
    rows = rows_of(recipe(written(tmp_path / "data.jsonl", ["x" * 40_000]), max_length=512))
    assert rows is not None
    assert rows.tokens == 512


@pytest.mark.parametrize("name", ["data.csv", "absent.jsonl"])
def test_other_files_are_left_to_the_training(tmp_path: Path, name: str) -> None:
    (tmp_path / "data.csv").write_text("prompt,completion\na,b\n")
    assert rows_of(recipe(tmp_path / name)) is None


def test_a_file_too_large_to_read_quickly_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.planning.rows._LARGEST_BYTES", 10)
    assert rows_of(recipe(written(tmp_path / "data.jsonl", ["x"]))) is None


def test_malformed_lines_count_by_their_length_and_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{not json\n" * 10)
    rows = rows_of(recipe(bad))
    assert rows is not None
    assert rows.count == 10
    bad.write_text("\n")
    assert rows_of(recipe(bad)) is None


def test_the_expected_longest_row_is_what_drawing_rows_gives() -> None:
    numbers = random.Random(0)
    lengths = sorted(round(numbers.lognormvariate(4.5, 0.8)) + 1 for _ in range(500))
    rows = Rows(500, sum(lengths), tuple(lengths))
    drawn = sum(max(numbers.choices(lengths, k=8)) for _ in range(20_000)) / 20_000
    assert rows.computed_tokens(8, packed=False) == pytest.approx(8 * drawn, rel=0.02)


def test_packing_spares_most_of_the_padding_and_equal_rows_have_none() -> None:
    uneven = Rows(100, 100 * 100, tuple([50] * 90 + [550] * 10))
    assert uneven.computed_tokens(8, packed=True) < 0.5 * uneven.computed_tokens(8, packed=False)
    even = Rows(100, 100 * 100, (100,) * 100)
    assert even.computed_tokens(8, packed=False) == pytest.approx(800)
