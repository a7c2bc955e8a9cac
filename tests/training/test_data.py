"""Several sources become one epoch: mixed by weight, split without leaks, duplicates told, each with its own licence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import InvalidInput
from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import DataSettings, DataSource, EvaluateSettings
from toolkit.planning.rows import rows_of
from toolkit.training.data import load_data

Papers = Callable[..., tuple[Any, ...]]


def write(path: Path, *pairs: tuple[str, str]) -> str:
    path.write_text("".join(json.dumps({"prompt": asked, "completion": said}) + "\n" for asked, said in pairs))
    return str(path)


def recipe_of(train: Any, fraction: float = 0.0, **data: Any) -> Recipe:
    settings = DataSettings(train, **data)
    return Recipe("embedded:qwen2", settings, "run", "recipes/test.yaml", evaluate=EvaluateSettings(fraction=fraction))


def test_weights_are_shares_of_an_epoch_and_every_row_is_seen(tmp_path: Path) -> None:
    long = write(tmp_path / "long.jsonl", *[(f"long {number}", "x") for number in range(60)])
    short = write(tmp_path / "short.jsonl", *[(f"short {number}", "x") for number in range(8)])
    recipe = recipe_of((DataSource(long, weight=3), DataSource(short, weight=1, license="MIT")), license="CC-BY-4.0")
    data = load_data(recipe)
    seen = Counter(example.where for example in data.train)
    assert len(seen) == 68
    assert Counter(Path(where.partition(":")[0]).stem for where in seen.elements()) == {"long": 60, "short": 20}
    assert {seen[where] for where in seen if "short" in where} == {2, 3}
    assert [(part.rows, part.examples) for part in data.parts] == [(60, 60), (8, 20)]
    assert [part.to_json()["license"] for part in data.parts] == ["CC-BY-4.0", "MIT"]
    assert any("seen 2.5 times an epoch" in note for note in data.notes())
    assert [example.where for example in load_data(recipe).train] == [example.where for example in data.train]
    counted = rows_of(recipe)
    assert counted is not None
    assert counted.count == 80


def test_bad_rows_of_every_source_are_told_at_once(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", ("a", " "), ("b", "c"))
    (tmp_path / "two.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{\n')
    with pytest.raises(InvalidInput) as caught:
        load_data(recipe_of((DataSource(one), DataSource(str(tmp_path / "two.jsonl")))))
    assert [Path(problem.path).name for problem in caught.value.problems] == ["one.jsonl:1", "two.jsonl:2"]


def test_one_prompt_in_two_sources_is_held_out_of_both(tmp_path: Path) -> None:
    pairs = [(f"question {number}?", "x") for number in range(40)]
    one = write(tmp_path / "one.jsonl", *pairs)
    two = write(tmp_path / "two.jsonl", *[(asked.upper(), said) for asked, said in pairs])
    data = load_data(recipe_of((DataSource(one), DataSource(two)), 0.2))
    held = {example.split_key.casefold() for example in data.held_out}
    assert len(data.held_out) == 16
    assert not held & {example.split_key.casefold() for example in data.train}


def test_rows_that_a_held_out_file_asks_in_another_spelling_are_left_out(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", ("Where is it?", "x"), ("where is it", "y"), ("what now", "z"))
    held = write(tmp_path / "held.jsonl", ("Where is it?", "x"))
    data = load_data(recipe_of(train, eval=held))
    assert [example.where.rpartition(":")[2] for example in data.train] == ["3"]
    assert "2 rows with the same prompt left out of training, 1 of them the same but for case" in data.how


def test_repeated_rows_are_counted_with_their_places(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", ("a b", "x"), ("c", "x"), ("a b", "x"), ("A, b!", "X"))
    found = load_data(recipe_of(path)).duplicates
    assert found is not None
    assert (found.exact, found.near) == (1, 1)
    assert [[place.rpartition(":")[2] for place in pair] for pair in found.pairs] == [["3", "1"], ["4", "1"]]


def test_a_mixed_run_records_each_source_and_releases_each_licence(
    papers: Papers, tmp_path: Path, support: Path
) -> None:
    from toolkit.planning.gate import grant
    from toolkit.release.facts import facts_of
    from toolkit.release.making import how_it_was_made
    from toolkit.release.record import read_record
    from toolkit.training.run import finetune

    more = write(tmp_path / "more.jsonl", *[(f"where is parcel {number}", "on its way") for number in range(12)])
    _, recipe, plan, snapshot, verdict = papers(max_steps=2)
    sources = (
        DataSource(str(support), weight=1, license="CC-BY-4.0", id="acme/support"),
        DataSource(more, weight=1, license="MIT"),
    )
    recipe = replace(recipe, data=DataSettings(sources))
    record: Any = read_record(finetune(grant(verdict, recipe), recipe, plan, snapshot, verdict))
    assert [source["license"] for source in record["data"]["sources"]] == ["CC-BY-4.0", "MIT"]
    assert record["data"]["train"]["rows"] == sum(source["examples"] for source in record["data"]["sources"])
    assert record["data"]["sources"][0]["examples"] == record["data"]["sources"][1]["examples"]
    named = [(data.name, data.terms.id if data.terms else None) for data in facts_of(record).data]
    assert named == [("acme/support", "cc-by-4.0"), ("more.jsonl", "mit")]
    card = repr(how_it_was_made(facts_of(record)))
    more_of = record["data"]["sources"][1]
    times = more_of["examples"] / more_of["rows"]
    assert times > 3
    assert f"more.jsonl gives {more_of['examples']} examples an epoch by its weight, each row {times:.2g} times" in card
    assert "no row longer than 128 tokens" in card
    assert "8 rows rendered alike by the tokenizer saved here" in card
    assert record["data"]["template"]["served_as_trained"] is True
    assert record["data"]["template"]["rows_compared"] == 8
