"""Real runs of TRL on tiny bases, from permit to record, on every family and with both adapters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import InvalidInput, TkError
from toolkit.release.record import read_record
from toolkit.training.progress import Event
from toolkit.training.run import finetune
from toolkit.training.stopping import Stopped

FAMILIES = ("qwen2", "qwen3", "llama", "mistral", "deepseek_v3")
Papers = Callable[..., tuple[Any, ...]]


def digest(run: Path) -> str:
    return str(
        json.loads((run / "run.json").read_text())["adapter"]["files"]["adapter/adapter_model.safetensors"]["sha256"]
    )


def base_alone(folder: Path, quantised: bool) -> Any:
    """A base in which no adapter ever was."""
    from toolkit.training.base import load_base

    return load_base(folder, dtype="float32", device="cpu", quantise=quantised)


def scores_of(model: Any, recipe: Any) -> dict[str, float]:
    """The evaluation of a model as it stands, on the held-out rows of a recipe."""
    from toolkit.training.answers import questions_of
    from toolkit.training.base import align_tokens, load_tokenizer
    from toolkit.training.data import load_data
    from toolkit.training.encoding import encode
    from toolkit.training.evaluation import score

    tokenizer = load_tokenizer(Path(model.config._name_or_path))
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    stops = align_tokens(causal, tokenizer, "<|im_end|>")
    held_out = load_data(recipe).held_out
    encoded = encode(held_out, tokenizer, 128)
    questions = questions_of(held_out, encoded, tokenizer, 4, 8)
    return score(model, tokenizer, encoded, questions, stops, 8).to_json()


@pytest.fixture(scope="module")
def finished(request: pytest.FixtureRequest) -> Callable[[Papers], Path]:
    """One run that several tests look at."""
    runs: list[Path] = []

    def run(papers: Papers) -> Path:
        if not runs:
            runs.append(finetune(*papers()))
        return runs[0]

    return run


@pytest.mark.parametrize("adapter", ["lora", "qlora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_falls_the_adapter_reloads_and_without_it_the_base_is_what_it_was(
    family: str, adapter: str, papers: Papers, bases: Callable[[str], Path]
) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file

    from toolkit.training.base import load_base

    run = finetune(*papers(family, adapter))
    record = read_record(run)
    metrics, evaluation = record["metrics"], record["evaluation"]
    assert metrics["last_loss"] < metrics["first_loss"] - 0.1  # type: ignore[index]
    assert evaluation["after"]["loss"] < evaluation["before"]["loss"]  # type: ignore[index]

    quantised = adapter == "qlora"
    base = load_base(bases(family), dtype="float32", device="cpu", quantise=quantised)
    assert any("Linear4bit" in type(module).__name__ for module in base.modules()) == quantised
    loaded = PeftModel.from_pretrained(base, str(run / "adapter"))
    weights = load_file(run / "adapter" / "adapter_model.safetensors")
    assert all(str(weight.dtype) == "torch.float32" for weight in weights.values())
    trained = [parameter for name, parameter in loaded.named_parameters() if "lora_B" in name]
    assert len(trained) * 2 == len(weights)
    assert all(parameter.abs().sum() > 0 for parameter in trained)
    with loaded.disable_adapter():
        assert scores_of(loaded, papers(family, adapter)[1]) == evaluation["before"]  # type: ignore[index]
    assert scores_of(base_alone(bases(family), quantised), papers(family, adapter)[1]) == evaluation["before"]  # type: ignore[index]
    assert not any(
        "gate.weight" in name or "experts." in name.replace("shared_experts.", "")
        for name, _ in loaded.named_parameters()
        if "lora_" in name
    )


def test_a_record_holds_what_the_release_needs(papers: Papers, finished: Callable[..., Path]) -> None:
    run = finished(papers)
    record: Any = read_record(run)
    assert record["base"]["id"] == "embedded:qwen2"
    assert set(record["base"]["files"]) >= {"config.json", "model.safetensors", "tokenizer.json", "LICENSE"}
    assert record["data"]["train"]["rows"] + record["data"]["eval"]["rows"] == 60
    assert 0 < record["data"]["loss_tokens"] < record["data"]["train"]["tokens"]
    assert [(item["kind"], item["id"]) for item in record["licenses"]] == [
        ("license", "apache-2.0"),
        ("notice", "apache-2.0"),
    ]
    assert all((run / item["path"]).is_file() for item in record["licenses"])
    assert record["metrics"]["steps"] == 8
    assert record["metrics"]["flops"] > 0
    assert record["metrics"]["peak_memory_bytes"] >= record["metrics"]["baseline_memory_bytes"] > 0
    assert {"torch", "trl", "peft", "transformers", "python"} <= set(record["versions"])
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 8
    assert len(record["evaluation"]["samples"]) == record["evaluation"]["generated"] == 4
    assert not (run / "adapter" / "README.md").exists()
    assert not list(run.glob("checkpoints/*/README.md"))
    assert str(run) not in (run / "adapter" / "adapter_config.json").read_text()
    assert (
        json.loads((run / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == "embedded:qwen2"
    )


def test_the_same_recipe_gives_the_same_adapter_twice(papers: Papers, finished: Callable[..., Path]) -> None:
    assert digest(finetune(*papers(output="again"))) == digest(finished(papers))
    assert digest(finetune(*papers(output="other", seed=43))) != digest(finished(papers))


def test_packing_changes_speed_and_nothing_else(papers: Papers, finished: Callable[..., Path]) -> None:
    packed: Any = read_record(finetune(*papers(output="packed", packing=True, micro_batch_size=4)))
    padded: Any = read_record(finished(papers))
    assert packed["metrics"]["train_loss"] == pytest.approx(padded["metrics"]["train_loss"], abs=1e-4)
    assert packed["evaluation"]["after"]["loss"] == pytest.approx(padded["evaluation"]["after"]["loss"], abs=1e-3)


def test_gradient_checkpointing_changes_memory_and_nothing_else(papers: Papers, finished: Callable[..., Path]) -> None:
    recomputed: Any = read_record(finetune(*papers(output="recomputed", gradient_checkpointing=True)))
    plain: Any = read_record(finished(papers))
    assert recomputed["metrics"]["train_loss"] == pytest.approx(plain["metrics"]["train_loss"], abs=1e-4)


def test_a_run_stopped_by_ctrl_c_goes_on_to_the_same_adapter(papers: Papers, finished: Callable[..., Path]) -> None:
    arguments = papers(output="stopped")
    run = Path(arguments[1].output)

    def interrupt(event: Event) -> None:
        if event.stage == "train" and event.done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match="stopped after step 4 of 8"):
        finetune(*arguments, progress=interrupt)
    assert not (run / "run.json").exists()
    assert not (run / "adapter").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    finetune(*arguments)
    record: Any = read_record(run)
    assert record["metrics"]["resumed_from_step"] == 4
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [*range(1, 9)]
    assert digest(run) == digest(finished(papers))


def test_checkpoints_of_another_recipe_are_not_gone_on_with(papers: Papers) -> None:
    arguments = papers(output="stopped")

    def interrupt(event: Event) -> None:
        if event.stage == "train" and event.done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped):
        finetune(*arguments, progress=interrupt)
    with pytest.raises(TkError, match="checkpoints of a run with another plan, recipe"):
        finetune(*papers(output="stopped", learning_rate=1e-3))


def test_the_adapter_says_the_same_without_the_toolkit(
    papers: Papers, finished: Callable[..., Path], bases: Callable[[str], Path]
) -> None:
    from toolkit.training.chat import Sampling, load_chat

    run = finished(papers)
    chat = load_chat(run, bases("qwen2"), read_record(run))
    messages = [{"role": "user", "content": "where is my order number 1"}]
    words: list[str] = []
    ours = chat.reply(messages, Sampling(12), on_text=words.append)
    assert "".join(words).strip() == ours
    assert chat.reply(messages, Sampling(12)) == ours
    assert chat.reply(messages, Sampling(12), adapter=False) != ours
    program = f"""
import json, sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({str(run / "adapter")!r})
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({str(bases("qwen2"))!r}), {str(run / "adapter")!r})
inputs = tokenizer.apply_chat_template(json.loads({json.dumps(json.dumps(messages))}), add_generation_prompt=True, return_tensors="pt", return_dict=True)
written = model.generate(**inputs, max_new_tokens=12, do_sample=False)
assert not any(name.startswith("toolkit") for name in sys.modules)
print(tokenizer.decode(written[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True).strip())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd=run)
    assert result.stdout.strip().splitlines()[-1:] == ([ours] if ours else [])
    assert result.returncode == 0, result.stderr


def test_a_run_writes_nothing_to_stdout(
    papers: Papers, finished: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    finetune(*papers(output="quiet"))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""
    assert "tokenising 48 rows" in (Path(papers(output="quiet")[1].output) / "log.txt").read_text()


def test_nothing_trains_without_a_permit(papers: Papers) -> None:
    permit, *rest = papers()
    with pytest.raises(TypeError, match="takes a Permit"):
        finetune(permit.to_json(), *rest)
    assert not Path(rest[0].output).exists()


def test_a_permit_is_good_for_its_own_recipe_and_verdict_only(papers: Papers) -> None:
    permit, recipe, plan, snapshot, verdict = papers()
    with pytest.raises(TkError, match="another recipe"):
        finetune(permit, replace(recipe, output="elsewhere"), plan, snapshot, verdict)
    with pytest.raises(TkError, match="another verdict"):
        finetune(permit, recipe, plan, snapshot, verdict._replace(level="needs-review"))


def test_a_finished_run_is_not_overwritten_unasked(papers: Papers) -> None:
    arguments = papers()
    run = Path(arguments[1].output)
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "mine.txt").write_text("keep")
    with pytest.raises(TkError, match="already holds a finished run"):
        finetune(*arguments)
    finetune(*arguments, overwrite=True)
    assert read_record(run)["metrics"]["steps"] == 8  # type: ignore[index]
    assert (run / "mine.txt").read_text() == "keep"


def test_a_finished_run_survives_an_attempt_with_bad_data(papers: Papers, tmp_path: Path) -> None:
    run = finetune(*papers())
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{\n")
    before = digest(run)
    with pytest.raises(InvalidInput):
        finetune(*papers(data=bad), overwrite=True)
    assert digest(run) == before
    assert (run / "adapter" / "adapter_model.safetensors").is_file()


def test_an_output_that_cannot_be_written_is_known_at_once(papers: Papers, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TkError, match="cannot write"):
        finetune(*papers(output="file/run"))


def test_bad_data_leaves_no_record(papers: Papers, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"messages": []}\n')
    arguments = papers(data=bad)
    with pytest.raises(InvalidInput, match=r"bad\.jsonl:1"):
        finetune(*arguments)
    assert not (Path(arguments[1].output) / "run.json").exists()


def test_a_loss_that_is_no_number_ends_the_run(papers: Papers, bases: Callable[[str], Path], tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    permit, recipe, plan, snapshot, verdict = papers()
    broken = tmp_path / "broken"
    shutil.copytree(bases("qwen2"), broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TkError, match="no longer a number at step 1"):
        finetune(permit, recipe, plan, replace(snapshot, folder=broken), verdict)
    assert not (Path(recipe.output) / "run.json").exists()


def test_held_out_rows_may_come_from_a_file_of_their_own(papers: Papers, support: Path, tmp_path: Path) -> None:
    other = tmp_path / "held-out.jsonl"
    other.write_text("".join(line + "\n" for line in support.read_text().splitlines()[:5]))
    _, recipe, plan, snapshot, verdict = papers()
    from toolkit.planning.gate import grant

    recipe = replace(recipe, data=replace(recipe.data, eval=str(other)))
    record: Any = read_record(finetune(grant(verdict, recipe), recipe, plan, snapshot, verdict))
    assert record["data"]["eval"]["rows"] == 5
    assert record["data"]["train"]["rows"] == 55
    assert "5 rows with the same prompt left out" in record["data"]["eval"]["how"]
