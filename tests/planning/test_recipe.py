"""A recipe is a few lines; everything wrong with one is said at once, with lines."""

import json
from pathlib import Path

import pytest

from toolkit.errors import InvalidInput, TkError, UsageError
from toolkit.planning.recipe import load_recipe, recipe_of_record

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


def test_an_override_may_quote_its_values(recipe):
    loaded = recipe(SMALL, """adapter.new_tokens=["<a, b>", '<c>']""", 'output="runs/x y"')
    assert loaded.adapter.new_tokens == ("<a, b>", "<c>")
    assert loaded.output == "runs/x y"


def test_streamed_rows_that_are_split_need_a_number_of_steps(recipe):
    asked = ("data.streaming=true", "data.on_overlength=split")
    (problem,) = problems(lambda: recipe(SMALL, *asked))
    assert problem.startswith("recipe.train.max_steps: is needed")
    assert recipe(SMALL, *asked, "train.max_steps=10").train.max_steps == 10


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
        ("train: {lora_r: 8}", "recipe.train.lora_r: unknown key; here it is called 'adapter.rank' (r.yaml:4)"),
        ("load_in_4bit: true", "recipe.load_in_4bit: unknown key; write adapter.type: qlora (r.yaml:4)"),
        ("learning_rte: 1", "recipe.learning_rte: unknown key; did you mean 'train.learning_rate'? (r.yaml:4)"),
        ("rank: 8", "recipe.rank: unknown key; here it is called 'adapter.rank' (r.yaml:4)"),
        (
            "train: {learning_rte: 1}",
            "recipe.train.learning_rte: unknown key; did you mean 'learning_rate'? (r.yaml:4)",
        ),
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


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("max_seq_length", "'train.max_length'"), ("torch_dtype", "'train.dtype'"), ("warmup_ratio", "'train.warmup'"),
        ("lora_r", "'adapter.rank'"), ("load_in_8bit", "adapter.type: lora-8bit"), ("use_dora", "'adapter.dora'"),
        ("use_rslora", "'adapter.rslora'"), ("init_lora_weights", "'adapter.init'"),
        ("loraplus_lr_ratio", "'adapter.lora_plus_ratio'"), ("evaluation_strategy", "'evaluate.every'"),
        ("val_set_size", "'evaluate.fraction'"), ("micro_batch_size", "'train.micro_batch_size'"),
        ("gradient_accumulation_steps", "'train.batch_size'"), ("report_to", "'track'"),
        ("flash_attention", "'train.attention'"), ("sample_packing", "'train.packing'"), ("cutoff_len", "'train.max_length'"),
        ("per_device_train_batch_size", "'train.micro_batch_size'"), ("finetuning_type", "'adapter.type'"),
        ("deepspeed", "train.sharding: fsdp2"), ("group_by_length", "train.packing"), ("bf16", "'train.dtype'"),
        ("modules_to_save", "'adapter.new_tokens'"), ("stage", "'method'"), ("datasets", "'data.train'"),
    ],
)  # fmt: skip
def test_a_name_of_another_tool_is_answered_with_ours(recipe, foreign, ours):
    (said,) = problems(lambda: recipe(f"{SMALL}{foreign}: 1\n"))
    assert ours in said


def test_every_answer_to_a_foreign_name_names_a_key_that_exists():
    from toolkit.files.schema import is_sentence
    from toolkit.planning.foreign_names import renamed
    from toolkit.planning.recipe_shape import recipe_shape

    def keys(schema):
        shapes = [schema, *schema.get("anyOf", [])]
        return {key: inner for shape in shapes for key, inner in shape.get("properties", {}).items()}

    whole = recipe_shape().json_schema()
    for section in (None, "adapter", "train", "evaluate"):
        here = whole if section is None else keys(whole)[section]
        for foreign, ours in renamed(section).items():
            assert foreign not in keys(here), foreign
            if is_sentence(ours):
                continue
            place = here if ours.partition(".")[0] in keys(here) else whole
            for part in ours.partition(":")[0].split("."):
                assert part in keys(place), f"{section}: {foreign} -> {ours}"
                place = keys(place)[part]


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


def test_every_source_is_judged_by_its_own_licence(recipe):
    data = "{train: [{path: a.jsonl, license: MIT, weight: 2}, {path: acme/b@main, weight: 1}, c.jsonl], license: CC-BY-4.0}"
    with pytest.raises(InvalidInput, match=r"c\.jsonl has no weight and others have"):
        recipe(SMALL.replace("rows.jsonl", data))
    loaded = recipe(SMALL.replace("rows.jsonl", data.replace("c.jsonl", "{path: c.jsonl, weight: 1, id: acme/c}")))
    assert [(dataset.id, dataset.license) for dataset in loaded.judged_use().datasets] == [
        ("a.jsonl", "MIT"), ("acme/b@main", "CC-BY-4.0"), ("acme/c", "CC-BY-4.0"),
    ]  # fmt: skip
    assert loaded.to_json()["data"]["train"][0] == {"path": "a.jsonl", "weight": 2, "license": "MIT"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{dataset_path: a}", "here it is called 'train'"),
        ("{train: a, dataset_text_field: body}", "write data.columns: {text: …}"),
        ("{train: a, validation_split: test}", "write data.eval: {path: …, split: …}"),
        ("{train: a, assistant_only_loss: true}", "here it is called 'train_on'"),
        ("{train: [{path: a, name: en}]}", "here it is called 'config'"),
        ("{train: a, columns: {promt: q}}", "is no column that a format reads; did you mean 'prompt'?"),
        ("{train: a, on_overlength: cut}", "'cut' is not one of error, split, truncate"),
        ("{train: []}", "it names no source"),
        ("{train: {path: a}}", "must be a path, or a list of sources"),
        ("{train: [a.jsonl, a.jsonl]}", "a.jsonl is named twice"),
        ("{train: [a, b], streaming: true}", "need a weight each"),
        ("{train: [a, b], id: acme/x}", "names one data set"),
    ],
)
def test_what_is_wrong_with_data_is_said_in_words(recipe, data, said):
    assert any(said in problem for problem in problems(lambda: recipe(SMALL.replace("rows.jsonl", data))))


def test_a_key_of_data_at_the_top_is_answered_with_its_place(recipe):
    assert problems(lambda: recipe(SMALL + "train_file: x")) == [
        "recipe.train_file: unknown key; here it is called 'data.train' (r.yaml:4)"
    ]


def test_a_folder_is_no_recipe(tmp_path):
    with pytest.raises(TkError, match="is a folder"):
        load_recipe(str(tmp_path))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_read_back_from_the_record_of_its_run(path):
    read = load_recipe(str(path))
    written = json.loads(json.dumps({"path": str(path), "resolved": read.to_json()}))
    assert recipe_of_record({"recipe": written}) == read
