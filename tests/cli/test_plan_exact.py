"""`tk plan --exact`: the traced plan beside the closed form's, and bases that no form is known for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")


@pytest.mark.slow
def test_a_traced_plan_says_so_and_agrees_with_the_closed_form(tk) -> None:
    plain, exact = (
        tk("plan", "recipes/qwen-lora.yaml", "--gpu", "24GiB", "--offline", "--format", "json", *flags)
        for flags in ((), ("--exact",))
    )
    assert (plain.returncode, exact.returncode) == (0, 0), exact.stderr
    assert exact.stderr == ""
    form, trace = (json.loads(done.stdout)["memory"] for done in (plain, exact))
    assert form["answered_by"] == "closed form"
    assert trace["answered_by"] == "traces of 2 and 3 of its 28 layers"
    assert form["peak_bytes"] == pytest.approx(trace["peak_bytes"], rel=0.0005)
    assert form["moment"] == trace["moment"]


def test_an_architecture_without_forms_is_planned_by_tracing(tk, tmp_path: Path) -> None:
    base = tmp_path / "olmo"
    base.mkdir()
    fields = {
        "model_type": "olmo2",
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
        "max_position_embeddings": 128,
    }
    (base / "config.json").write_text(json.dumps(fields))
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    recipe = tmp_path / "olmo.yaml"
    recipe.write_text(f"base: {base}\ndata: {{train: x.jsonl, license: own}}\noutput: {tmp_path}/run\n")
    refused = tk("plan", recipe, "--gpu", "24GiB")
    assert refused.returncode == 1
    assert "'olmo2' is not an architecture that tk can size" in refused.stderr
    assert "tk plan --exact" in refused.stderr
    done = tk("plan", recipe, "--gpu", "24GiB", "--exact", "--format", "json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["memory"]["answered_by"] == "traces of 2 and 3 of its 4 layers"
    assert plan["choices"]["target_modules"]["value"] == [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ]
    assert sum(plan["memory"]["parts"].values()) == plan["memory"]["peak_bytes"]
