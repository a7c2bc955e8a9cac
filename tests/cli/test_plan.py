"""`tk plan` as a person uses it: one GPU, several, tables, and questions that have no answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

RECIPE = "recipes/qwen-lora.yaml"


def test_a_plan_shows_its_choices_where_memory_goes_and_how_long_it_takes(tk):
    text = tk("plan", RECIPE, "--gpu", "24GiB", "--offline").stdout
    for part in ("fits comfortably", "sharding", "Memory at its peak", "base weights", "Time, an estimate", "assumed:"):
        assert part in text


def test_several_gpus_are_shown_as_such(tk):
    arguments = ("plan", RECIPE, "--set", "base=meta-llama/Llama-3.3-70B-Instruct", "--set", "adapter.type=auto")
    text = tk(*arguments, "--gpu", "RTX 4090", "--gpus", "4", "--offline").stdout
    assert "on 4 x RTX 4090" in text
    assert "usable on each GPU" in text
    assert "communication buffers" in text
    assert "GPU-hours" in text


def test_what_does_not_fit_is_answered_with_what_would(tk):
    text = " ".join(tk("plan", RECIPE, "--gpu", "RTX 4060", "--offline").stdout.split())
    assert "What would fit" in text
    for part in (
        "adapter.type: qlora",
        "--gpus",
        "LoRA fits on L4",
        "Qwen/Qwen2.5-3B-Instruct (Qwen RESEARCH LICENSE AGREEMENT) takes",
    ):
        assert part in text


def test_the_json_of_a_plan_adds_the_estimate_and_the_gpus_to_what_it_had(tk):
    value = json.loads(tk("plan", RECIPE, "--gpu", "H20", "--gpus", "8", "--offline", "--format", "json").stdout)
    assert (value["schema"], value["gpus"], value["device"]["count"]) == ("tk/plan/1", 8, 8)
    assert value["choices"]["sharding"]["value"] == "ddp"
    assert value["memory"]["peak_bytes"] == sum(value["memory"]["parts"].values())
    assert value["estimate"]["gpu_hours"] == pytest.approx(8 * value["estimate"]["seconds"] / 3600)


def test_a_recipe_on_every_gpu(tk):
    rows = json.loads(tk("plan", RECIPE, "--all-gpus", "--offline", "--format", "json").stdout)["gpus"]
    assert {row["fit"] for row in rows} == {"comfortable", "does-not-fit"}
    text = tk("plan", RECIPE, "--all-gpus", "--offline").stdout
    assert "A100 80GB SXM" in text
    assert "micro x steps" in text


def test_every_base_on_a_gpu(tk):
    rows = json.loads(tk("plan", RECIPE, "--all-bases", "--gpu", "T4", "--format", "json").stdout)
    assert rows["device"]["name"] == "T4"
    assert {row["name"]: row["fit"] for row in rows["bases"]}["Qwen/Qwen2.5-0.5B"] == "comfortable"
    assert "licence" in tk("plan", RECIPE, "--all-bases", "--gpu", "T4").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "RTX 4099"], "did you mean 'RTX 4090'"),
        (["--probe", "--gpu", "cpu", "--gpus", "2"], "--probe runs on one device"),
        (["--gpus", "0"], "0 is not in the range"),
        (["--all-gpus", "--all-bases"], "name one of them"),
        (["--all-gpus", "--gpu", "T4"], "leave --gpu out"),
        (["--probe", "--gpu", "T4"], "--probe runs on the device at hand"),
    ],
)
def test_a_question_that_has_no_answer_is_a_usage_error(tk, arguments, message):
    done = tk("plan", RECIPE, "--offline", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.sharding=fsdp2", "recipe.train.sharding: fsdp2 is for several GPUs"),
        ("train.sharding=fsdp3", "did you mean 'fsdp2'?"),
        ("train.attention=flash_attention_2", "flash_attention_2 does not run on T4"),
        ("train.attn_implementation=sdpa", "attention"),
    ],
)
def test_an_override_that_cannot_be_is_one_clear_error(tk, setting, message):
    done = tk("plan", RECIPE, "--gpu", "T4", "--offline", "--set", setting)
    assert done.returncode == 1
    assert message in done.stderr


def config(**changes):
    fields = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256, "max_position_embeddings": 4096,
    }  # fmt: skip
    return {name: value for name, value in (fields | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": None}, "config.vocab_size: is missing"),
        ({"num_key_value_heads": 3}, "3 does not divide num_attention_heads, 4"),
        ({"hidden_size": "64"}, "config.hidden_size: must be a whole number of at least 1, not '64'"),
        ({"model_type": "lama"}, "did you mean 'llama'?"),
        ({"quantization_config": {"quant_method": "gptq"}}, "stored as gptq"),
    ],
)
def test_a_configuration_that_lacks_or_contradicts_is_one_clear_error(tk, tmp_path, changes, message):
    (tmp_path / "config.json").write_text(json.dumps(config(**changes)))
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    done = tk("plan", RECIPE, "--gpu", "24GiB", "--set", f"base={tmp_path}")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("Error") == 1


def test_a_probe_does_not_try_what_the_licence_forbids(tk):
    settings = ("--set", "data.license=CC-BY-NC-4.0")
    done = tk("plan", "recipes/embedded-qwen-lora.yaml", "--probe", "--gpu", "cpu", *settings)
    assert done.returncode == 3
    assert "Error" in done.stderr


def loaded_by_a_plan(*options, **environment):
    """Which heavy modules a plan has loaded at its end."""
    code = (
        "import sys, contextlib, io\n"
        "from toolkit.cli.main import main\n"
        f"sys.argv = ['tk', 'plan', {RECIPE!r}, '--gpu', '24GiB', *{options!r}]\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "heavy = {'torch', 'transformers', 'peft', 'trl', 'numpy', 'pydantic', 'huggingface_hub'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    proxies = {"http_proxy", "https_proxy", "all_proxy", "hf_hub_offline"}
    env = {name: value for name, value in os.environ.items() if name.lower() not in proxies} | environment
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_planning_imports_neither_torch_nor_the_hub_client():
    assert loaded_by_a_plan("--offline") == []


def test_a_hub_out_of_reach_is_noticed_before_its_client_is_imported():
    assert loaded_by_a_plan(HF_ENDPOINT="http://127.0.0.1:9") == []  # nothing listens on the discard port
