"""`tk finetune` from the outside: the gate, and what bad input comes to. Training itself is tested in tests/training."""

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ROW = {"messages": [{"role": "user", "content": "Where is order 7?"}, {"role": "assistant", "content": "Here."}]}
USE = "use: {distribution: internal, commercial: true}\n"


@pytest.fixture
def place(tmp_path):
    """A folder with a recipe on good data, and no torch to import: whatever fails here fails before weights load."""
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(ROW) for _ in range(40)) + "\n")
    (tmp_path / "recipe.yaml").write_text(
        f"base: embedded:qwen2\ndata: {{train: rows.jsonl, license: own}}\n{USE}output: run\n"
    )
    (tmp_path / "without" / "torch").mkdir(parents=True)
    (tmp_path / "without" / "torch" / "__init__.py").write_text("raise ImportError('torch was imported')\n")
    return tmp_path


@pytest.fixture
def finetune(tk, place):
    def run(*arguments, recipe="recipe.yaml"):
        env = {"PYTHONPATH": f"{place / 'without'}:{ROOT}"}
        done = tk("finetune", recipe, "--gpu", "cpu", "--offline", *arguments, cwd=place, env=env)
        assert "Traceback" not in done.stderr
        assert not (place / "run").exists(), sorted((place / "run").iterdir())
        return done

    return run


def errors(done):
    return [line for line in done.stderr.splitlines() if line.startswith("Error: ")]


def test_a_prohibited_base_is_refused_before_anything_is_loaded(finetune):
    done = finetune("--set", "base=Qwen/Qwen2.5-3B-Instruct")
    assert done.returncode == 3
    assert "training refused, the verdict is needs-separate-license" in done.stderr


def test_an_acknowledgement_does_not_lift_a_prohibition(finetune):
    assert finetune("--set", "base=Qwen/Qwen2.5-3B-Instruct", "--acknowledge", "counsel, ticket 12").returncode == 3


def test_an_open_question_is_refused_until_somebody_answers_for_it(finetune):
    done = finetune("--set", "data.license=banana")
    assert done.returncode == 4
    assert "--acknowledge" in done.stderr


def test_several_mistakes_in_a_recipe_are_reported_at_once_with_lines(finetune, place):
    (place / "wrong.yaml").write_text(
        "base: embedded:qwen2\ndata: {train: rows.jsonl}\ntrain:\n  lerning_rate: 1e-4\n  max_seq_length: 10\n  epochs: none\n"
    )
    done = finetune(recipe="wrong.yaml")
    assert done.returncode == 1
    for line in (
        "recipe.train.lerning_rate: unknown key; did you mean 'learning_rate'? (wrong.yaml:4)",
        "recipe.train.max_seq_length: unknown key; here it is called 'max_length' (wrong.yaml:5)",
        "recipe.train.epochs: must be a number, not 'none' (wrong.yaml:6)",
        "recipe.output: is missing: Folder of the run (wrong.yaml:1)",
    ):
        assert line in done.stderr


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.lerning_rate=1", "recipe.train.lerning_rate: unknown key; did you mean 'learning_rate'? (--set train.lerning_rate)"),
        ("train.micro_batch_size=3", "3 does not divide batch_size 16"),
        ("base=acme/Nothing", "nothing is known of acme/Nothing"),
        ("base=./nowhere", "no such folder, and not a hub id"),
        ("base=embedded:qwen9", "no embedded base 'qwen9'"),
        ("data.train=absent.jsonl", "absent.jsonl"),
        ("adapter.type=lroa", "'lroa' is not one of auto, lora, lora-8bit, qlora; did you mean 'lora'?"),
        ("train.max_length=4", "must be at least 8"),
        ("adapter.target_modules=[q_porj]", "q_porj"),
    ],
)  # fmt: skip
def test_a_bad_value_gets_one_clear_error(finetune, override, words):
    done = finetune("--set", override)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(errors(done)) == 1


def test_a_folder_without_a_configuration_is_no_base(finetune, place):
    (place / "empty").mkdir()
    (place / "empty" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    done = finetune("--set", "base=empty")
    assert done.returncode == 1
    assert "has no config.json (empty)" in done.stderr


def test_a_malformed_row_is_named_with_its_line(finetune, place):
    lines = [json.dumps(ROW)] * 6 + ['{"messages": ['] + [json.dumps(ROW)] * 3
    (place / "rows.jsonl").write_text("\n".join(lines) + "\n")
    done = finetune()
    assert done.returncode == 1
    assert "rows.jsonl:7" in done.stderr


def test_empty_data_is_said_to_be_empty(finetune, place):
    (place / "rows.jsonl").write_text("")
    done = finetune()
    assert done.returncode == 1
    assert "rows.jsonl" in done.stderr


def test_an_output_that_cannot_be_written_is_named(finetune, place):
    (place / "occupied").write_text("a file")
    done = finetune("--set", "output=occupied/run")
    assert done.returncode == 1
    assert "occupied" in errors(done)[0]


def test_a_recipe_that_does_not_exist_is_answered_with_the_shipped_one_that_was_meant(tk):
    done = tk("finetune", "recipes/qwen-lra.yaml")
    assert done.returncode == 1
    assert "did you mean 'recipes/qwen-lora.yaml'?" in done.stderr


def test_set_without_a_value_is_a_usage_error(finetune):
    assert finetune("--set", "train.epochs").returncode == 2


def test_every_shipped_recipe_passes_its_own_gate_and_plans(tk):
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        done = tk("plan", path, "--gpu", "80GiB", "--offline", "--format", "json")
        assert done.returncode == 0, f"{path.name}: {done.stderr}"
        plan = json.loads(done.stdout)
        assert plan["verdict"] in ("allowed", "allowed-with-obligations"), path.name
        assert plan["fit"] in ("comfortable", "tight"), path.name


def test_no_run_is_left_where_nothing_ran(place):
    assert sorted(os.listdir(place)) == ["recipe.yaml", "rows.jsonl", "without"]


@pytest.mark.parametrize("name", ["../evil", 'a"\nlicense: mit\n#', " "])
def test_a_release_name_that_is_no_name_is_a_usage_error(tk, tmp_path, name):
    done = tk("release", tmp_path, "--to", tmp_path / "out", "--name", name)
    assert done.returncode == 2
    assert "write a plain name" in done.stderr
