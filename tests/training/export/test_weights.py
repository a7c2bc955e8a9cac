"""Merged weights are the trained model, as far as they can be, and nothing is written otherwise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import Refused, TkError
from toolkit.files.digests import sha256_file, sha256_json
from toolkit.release.record import read_record
from toolkit.training.export.papers import papers_of
from toolkit.training.export.weights import Wish, export_weights

Runs = Callable[[str], tuple[Path, Path]]


def exported(run: Path, base: Path, target: Path, **wish: Any) -> dict[str, Any]:
    return export_weights(run, papers_of(run, read_record(run)), base, target, Wish(**wish)).paper


def layout(folder: Path) -> dict[str, Any]:
    """Name → shape and format of every tensor in a folder."""
    from safetensors import safe_open

    found = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                found[name] = (tuple(part.get_shape()), part.get_dtype())
    return found


@pytest.mark.parametrize("family", ["qwen2", "deepseek_v3", "qwen3"])
def test_a_faithful_merge_is_the_model_that_was_trained(family: str, trained_runs: Runs, tmp_path: Path) -> None:
    run, base = trained_runs(family)
    plain = exported(run, base, tmp_path / "plain")["comparison"]
    faithful = exported(run, base, tmp_path / "faithful", faithful=True)["comparison"]
    assert plain["rows"]["count"] == faithful["rows"]["count"] == 12
    assert plain["rows"]["which"].startswith("held-out")
    assert faithful["kl"]["mean"] < 2e-5
    assert plain["kl"]["mean"] < 0.1
    if family != "qwen3":  # 8 bits round so little that both are the model
        assert plain["kl"]["mean"] > 2e-5
    assert faithful["loss"]["exported"] == pytest.approx(faithful["loss"]["trained"], abs=1e-3)
    recorded = json.loads((run / "run.json").read_text())["evaluation"]["after"]["loss"]
    assert faithful["loss"]["trained"] == pytest.approx(recorded, abs=1e-4)
    assert json.loads((tmp_path / "faithful" / "export.json").read_text())["method"]["merge"] == "dequantised"
    # Names of experts too are those of the base, one matrix each: what others load.
    assert layout(tmp_path / "plain") == layout(tmp_path / "faithful") == layout(base)
    configs = [
        json.loads((folder / "config.json").read_text())
        for folder in (base, *map(tmp_path.joinpath, ["plain", "faithful"]))
    ]
    assert configs[0] == configs[1] == configs[2]


def test_transformers_alone_loads_it_and_answers_as_the_chat_does(trained_runs: Runs, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from toolkit.training.chat import Sampling, load_chat

    run, base = trained_runs("llama")
    paper = exported(run, base, tmp_path / "merged")
    assert paper["comparison"]["kl"]["mean"] < 1e-6
    messages = [{"role": "user", "content": "where is my parcel number 3"}]
    ours = load_chat(run, base, read_record(run)).reply(messages, Sampling(12))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**asked, do_sample=False, max_new_tokens=12)
    assert tokenizer.decode(written[0, asked["input_ids"].shape[1] :], skip_special_tokens=True) == ours
    assert model.config.use_cache is True
    assert json.loads((tmp_path / "merged" / "generation_config.json").read_text())["eos_token_id"]


def test_new_tokens_and_dora_are_merged_with_all_the_rest(trained_runs: Runs, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    run, base = trained_runs("mistral")
    paper = exported(run, base, tmp_path / "merged")
    assert paper["comparison"]["kl"]["mean"] < 1e-6
    rows = layout(tmp_path / "merged")["model.embed_tokens.weight"][0][0]
    assert rows == layout(base)["model.embed_tokens.weight"][0][0] + 2
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").convert_tokens_to_ids("<then>") == rows - 1
    gguf = exported(run, base, tmp_path / "gguf", gguf=True)
    assert gguf["comparison"]["kl"]["mean"] < 1e-6
    assert gguf["method"]["quantization"] == "f32"


def test_the_papers_say_what_was_made_from_what(trained_runs: Runs, tmp_path: Path) -> None:
    run, base = trained_runs("llama")
    paper = exported(run, base, tmp_path / "merged")
    assert paper == json.loads((tmp_path / "merged" / "export.json").read_text())
    assert paper["schema"] == "tk/export/1"
    assert paper["run"]["record_sha256"] == sha256_json(read_record(run))
    assert str(base.parent) not in json.dumps(paper)
    for name, entry in paper["files"].items():
        assert sha256_file(tmp_path / "merged" / name) == entry["sha256"], name
    notice = (tmp_path / "merged" / "NOTICE").read_text()
    assert "changed by fine-tuning: an adapter (LoRA) was merged into its weights" in notice
    assert "made for a test" in notice  # the base's own notice travels on
    assert (tmp_path / "merged" / "LICENSE").read_text() == (base / "LICENSE").read_text()


def test_an_update_is_added_in_float32_and_rounded_once(trained_runs: Runs) -> None:
    import torch
    from safetensors.torch import load_file

    from toolkit.training.export.merging import merged_model

    run, base = trained_runs("qwen2")
    merged = merged_model(run, base, dtype="bfloat16", bits=None, device="cpu").state_dict()
    adapter, weights = load_file(run / "adapter" / "adapter_model.safetensors"), load_file(base / "model.safetensors")
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    name = "model.layers.1.mlp.down_proj"
    lower, upper = (adapter[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    update = upper @ lower * (config["lora_alpha"] / config["r"])
    assert torch.equal(merged[f"{name}.weight"], (weights[f"{name}.weight"].float() + update).bfloat16())


def test_nothing_is_merged_into_4_bits(trained_runs: Runs) -> None:
    from toolkit.training.export.merging import merge
    from toolkit.training.trained import load_trained

    run, base = trained_runs("qwen2")
    trained = load_trained(run, base, read_record(run), device="cpu", dtype="float32")
    with pytest.raises(TkError, match="never merged into weights of 4 or 8 bits"):
        merge(trained.model)


@pytest.mark.parametrize(
    "kind",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"trainable_token_indices": [7, 11]},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
    ],
    ids=lambda kind: next(iter(kind)),
)
def test_every_kind_of_adapter_that_peft_merges_is_merged(kind: dict[str, Any], bases: Callable[[str], Path]) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from toolkit.training.export.merging import merge

    torch.manual_seed(5)
    model: Any = get_peft_model(
        AutoModelForCausalLM.from_pretrained(bases("mistral")),
        LoraConfig(**{"r": 4, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM", **kind}),
    ).eval()
    ids = torch.arange(2, 40)[None]
    with torch.no_grad():
        before = model(ids).logits
        for parameter in filter(lambda parameter: parameter.requires_grad, model.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.2)
        trained = model(ids).logits
        assert (trained - before).abs().max() > 0.05
        assert torch.allclose(merge(model)(ids).logits, trained, atol=1e-4)


def test_another_base_is_refused(own_run: Runs, tmp_path: Path) -> None:
    run, base = own_run("llama")
    other = shutil.copytree(base, tmp_path / "other")
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-1] ^= 1  # one bit of one weight
    (other / "model.safetensors").write_bytes(content)
    with pytest.raises(TkError, match=r"is not the .* that the run was trained on: model.safetensors differs"):
        exported(run, other, tmp_path / "merged")
    (other / "config.json").unlink()
    with pytest.raises(TkError, match=r"holds no config\.json"):
        exported(run, other, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_changed_adapter_is_refused(own_run: Runs, tmp_path: Path) -> None:
    run, base = own_run("llama")
    with (run / "adapter" / "adapter_model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(TkError, match="is not the file that the run recorded"):
        exported(run, base, tmp_path / "merged")


def test_a_prohibited_run_has_no_derivative(own_run: Runs, tmp_path: Path) -> None:
    run, base = own_run("llama")
    record = json.loads((run / "run.json").read_text())
    record["verdict"]["verdict"] = "prohibited"
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(Refused, match="prohibited"):
        exported(run, base, tmp_path / "merged")


def test_a_base_that_comes_in_4_bits_has_nothing_else_to_merge_into(own_run: Runs, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from toolkit.files.digests import digest_folder
    from toolkit.training.base import four_bit

    run, base = own_run("qwen2")
    stored = shutil.copytree(base, tmp_path / "stored")
    AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, quantization_config=four_bit("float32")
    ).save_pretrained(stored)
    record = json.loads((run / "run.json").read_text())
    record["base"]["files"] = {name: digest.to_json() for name, digest in digest_folder(stored).items()}
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(TkError, match="no 16-bit weights to merge into"):
        exported(run, stored, tmp_path / "merged")
    paper = exported(run, stored, tmp_path / "merged", faithful=True)
    assert paper["comparison"]["kl"]["mean"] < 1e-4
    assert {entry[0] for entry in layout(tmp_path / "merged").items()} == set(layout(base))
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())


def test_too_small_a_disk_or_memory_is_known_at_once(
    trained_runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.training import environment

    run, base = trained_runs("llama")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))
        with pytest.raises(TkError, match=r"the disk has 0\.0 GiB free; the export needs"):
            exported(run, base, tmp_path / "merged")
    monkeypatch.setattr(environment, "available_memory_bytes", lambda: 1000)
    with pytest.raises(TkError, match="merging holds the whole base"):
        exported(run, base, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing_and_spares_what_was_there(
    trained_runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.training.export import merging

    run, base = trained_runs("llama")
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "earlier").write_text("kept")
    with pytest.raises(TkError, match="already exists"):
        exported(run, base, tmp_path / "merged")

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(merging, "save_merged", stopped)
        with pytest.raises(KeyboardInterrupt):
            exported(run, base, tmp_path / "merged", overwrite=True)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["merged", "merged/earlier"]


def test_rows_that_are_gone_are_answered_with_the_option_that_names_others(
    own_run: Runs, support: Path, tmp_path: Path
) -> None:
    run, base = own_run("llama")
    record = json.loads((run / "run.json").read_text())
    record["recipe"]["resolved"]["data"]["train"] = "gone.jsonl"
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(TkError, match="the rows of the run cannot be read") as error:
        exported(run, base, tmp_path / "merged")
    assert "--data" in str(error.value.hint)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(support.read_text().splitlines(keepends=True)[:5]))
    assert exported(run, base, tmp_path / "merged", data=rows)["comparison"]["rows"] == {
        "which": str(rows), "count": 5, "tokens": pytest.approx(40, abs=30),
    }  # fmt: skip
