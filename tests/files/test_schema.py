"""Checked mappings report every problem at once, with the key that was meant."""

import pytest

from toolkit.errors import InvalidInput
from toolkit.files.schema import Flag, Key, ListOf, MapOf, Number, Record, Text, read_document
from toolkit.files.strict_yaml import load_text

TRAIN = Record(
    {"learning_rate": Key(Number(above=0)), "epochs": Key(Number(minimum=1, whole=True))},
    renamed={"lr": "learning_rate"},
)
RECIPE = Record(
    {"base": Key(Text(), required=True), "train": Key(TRAIN), "tags": Key(ListOf(Text())), "on": Key(Flag())}
)


def read(text):
    return read_document(load_text(text, "r.yaml"), RECIPE, "recipe")


def problems(text):
    with pytest.raises(InvalidInput) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def test_every_problem_is_reported_at_once():
    found = problems("train:\n  lerning_rate: 1\n  epochs: 1.5\n  lr: 2\ntags: x\non: 1\n")
    assert found == [
        "recipe.base: is missing (r.yaml:1)",
        "recipe.train.lerning_rate: unknown key; did you mean 'learning_rate'? (r.yaml:2)",
        "recipe.train.lr: unknown key; here it is called 'learning_rate' (r.yaml:4)",
        "recipe.train.epochs: must be a whole number, not 1.5 (r.yaml:3)",
        "recipe.tags: must be a list, not 'x' (r.yaml:5)",
        "recipe.on: must be true or false, not 1 (r.yaml:6)",
    ]


def test_a_key_without_a_value_is_said_to_have_none():
    assert problems("base: x\ntags:\n") == ["recipe.tags: has no value; write one or leave the key out (r.yaml:2)"]


def test_a_million_may_be_written_as_a_power_of_ten():
    assert read("base: x\ntrain: {epochs: 1e6}")["train"]["epochs"] == 1_000_000


def test_not_a_number_is_no_number():
    assert problems("base: x\ntrain: {learning_rate: .nan}") == [
        "recipe.train.learning_rate: must be a number, not nan (r.yaml:2)"
    ]


def test_the_shape_describes_itself_as_json_schema():
    schema = RECIPE.json_schema()
    assert schema["required"] == ["base"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["train"]["properties"]["learning_rate"] == {"type": "number", "exclusiveMinimum": 0}


def test_free_keys_are_checked_by_their_own_rule():
    kind = MapOf(Number(), key=lambda name: None if name.isdigit() else "must be digits")
    with pytest.raises(InvalidInput, match=r"m\.x: must be digits"):
        read_document(load_text("x: 1", "m.yaml"), kind, "m")
