"""A recipe is a few lines; everything wrong with one is said at once, with lines."""

import json
from pathlib import Path

import pytest

from toolkit.errors import InvalidInput, TkError, UsageError
from toolkit.planning.recipe import load_recipe

ROOT = Path(__file__).resolve().parent.parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
SMALL = "base: embedded:qwen2\ndata: rows.jsonl\noutput: run\n"


@pytest.fixture
def recipe(tmp_path):
    def write(text, *overrides):
        path = tmp_path / "r.yaml"
        path.write_text(text)
        return load_recipe(str(path), overrides)

    return write


def problems(call):
    with pytest.raises(InvalidInput) as caught:
        call()
    return [
        str(problem).replace(str(problem.where), problem.where.rsplit("/", 1)[-1]) for problem in caught.value.problems
    ]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_short_and_loads(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 10
    loaded = load_recipe(str(path))
    assert loaded.data_path(loaded.data.train)
    assert loaded.use.purpose


def test_data_may_be_the_file_alone(recipe):
    assert recipe(SMALL).data.train == "rows.jsonl"


def test_defaults_are_part_of_the_resolved_recipe(recipe):
    resolved = recipe(SMALL).to_json()
    assert resolved["train"]["batch_size"] == 16
    assert resolved["adapter"]["type"] == "auto"
    json.dumps(resolved)


def test_an_override_reads_its_value_as_the_file_would(recipe):
    loaded = recipe(SMALL, "train.learning_rate=1e-4", "adapter.target_modules=[q_proj, v_proj]", "train.packing=true")
    assert loaded.train.learning_rate == 1e-4
    assert loaded.adapter.target_modules == ("q_proj", "v_proj")
    assert loaded.train.packing is True


def test_a_bad_override_points_to_the_command_line(recipe):
    assert problems(lambda: recipe(SMALL, "train.epochs=-1")) == [
        "recipe.train.epochs: must be above 0, not -1 (--set train.epochs)"
    ]


@pytest.mark.parametrize("text", ["train.epochs", "=1", ""])
def test_an_override_without_key_or_value_is_a_usage_error(recipe, text):
    with pytest.raises(UsageError):
        recipe(SMALL, text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("trian: {}", "recipe.trian: unknown key; did you mean 'train'? (r.yaml:4)"),
        ("train: {lora_r: 8}", "recipe.train.lora_r: unknown key (r.yaml:4)"),
        ("adapter: {lora_r: 8}", "recipe.adapter.lora_r: unknown key; here it is called 'rank' (r.yaml:4)"),
        ("train: {warmup_ratio: 0.1}", "recipe.train.warmup_ratio: unknown key; here it is called 'warmup' (r.yaml:4)"),
        ("torch_dtype: x", "recipe.torch_dtype: unknown key; here it is called 'train.dtype' (r.yaml:4)"),
        (
            "method: ppo",
            "recipe.method: 'ppo' is not one of sft, pretrain, dpo, kto, orpo, grpo; did you mean 'dpo'? (r.yaml:4)",
        ),
        ("use: {commercial: maybe}", "recipe.use.commercial: must be true or false, not 'maybe' (r.yaml:4)"),
        ("trust_remote_code: 1", "recipe.trust_remote_code: must be true or false, not 1 (r.yaml:4)"),
    ],
)
def test_a_wrong_line_is_answered_in_words(recipe, line, said):
    assert problems(lambda: recipe(SMALL + line)) == [said]


def test_two_sources_of_held_out_rows_contradict_each_other(recipe):
    text = "base: embedded:qwen2\ndata: {train: a.jsonl, eval: b.jsonl}\nevaluate: {fraction: 0.2}\noutput: run\n"
    assert "leave one of the two out" in problems(lambda: recipe(text))[0]


def test_an_empty_file_is_no_recipe(recipe):
    assert problems(lambda: recipe("")) == ["recipe: is empty; it needs base, data and output (r.yaml:1)"]


def test_a_list_is_no_recipe(recipe):
    assert "must be a mapping" in problems(lambda: recipe("- a\n"))[0]


def test_two_spellings_of_one_recipe_share_a_digest(recipe):
    one = recipe(SMALL + "train: {epochs: 1, seed: 42}\n").sha256
    other = recipe(SMALL.replace("rows.jsonl", "{train: rows.jsonl}") + "train: {seed: 0x2A, epochs: 1}\n").sha256
    assert one == other
    assert one != recipe(SMALL + "train: {epochs: 2}\n").sha256


def test_the_data_set_of_a_recipe_is_judged_with_it(recipe):
    loaded = recipe(SMALL.replace("rows.jsonl", "{train: rows.jsonl, license: CC-BY-4.0, id: acme/rows}"))
    assert [(dataset.id, dataset.license) for dataset in loaded.judged_use().datasets] == [("acme/rows", "CC-BY-4.0")]


def test_a_folder_is_no_recipe(tmp_path):
    with pytest.raises(TkError, match="is a folder"):
        load_recipe(str(tmp_path))
