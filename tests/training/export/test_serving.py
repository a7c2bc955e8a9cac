"""The serving script checks base and adapter by digest before it starts anything, with the shell's own tools."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from toolkit.errors import TkError
from toolkit.release.record import read_record
from toolkit.training.export.papers import papers_of
from toolkit.training.export.serving import RANKS, export_adapter_for_vllm
from toolkit.training.export.weights import Wish, export_weights

Runs = Callable[[str], tuple[Path, Path]]


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a serve.sh with a stand-in for vLLM that only says how it was called."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "vllm").write_text('#!/bin/sh\necho "$PWD: $@"\n')
    (place / "vllm").chmod(0o755)

    def run(script: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = f"{place}:{os.environ['PATH']}"
        return subprocess.run(
            [script, *arguments], env={**os.environ, "PATH": path, **env}, capture_output=True, text=True, cwd="/"
        )

    return run


def test_the_adapter_is_served_on_its_own_base_and_no_other(
    trained_runs: Runs, serve: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    run, base = trained_runs("llama")
    target = tmp_path / "a folder"
    report = export_adapter_for_vllm(run, papers_of(run, read_record(run)), base, target)
    assert report.paper["kind"] == "adapter"
    settings = yaml.safe_load((target / "serve.yaml").read_text())
    module = json.loads(settings["lora-modules"][0])
    assert settings["enable-lora"] is True
    assert settings["max-lora-rank"] == 8
    assert (target / module["path"] / "adapter_model.safetensors").is_file()
    assert (target / settings["tokenizer"] / "tokenizer.json").is_file()
    done = serve(target / "serve.sh", "--port", "8080")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{target}: serve {base} --config serve.yaml --port 8080\n"

    other = shutil.copytree(base, tmp_path / "other")
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "model.safetensors").write_bytes(content)
    done = serve(target / "serve.sh", TK_BASE=str(other))
    assert done.returncode != 0
    assert done.stdout == ""
    assert "model.safetensors: FAILED" in done.stderr
    assert "is not what the run was made with" in done.stderr

    with (target / "adapter" / "adapter_config.json").open("a") as file:
        file.write(" ")
    done = serve(target / "serve.sh")
    assert done.returncode != 0
    assert done.stdout == ""


def test_merged_weights_are_served_as_they_came_out(
    trained_runs: Runs, serve: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    run, base = trained_runs("llama")
    target = tmp_path / "merged"
    export_weights(run, papers_of(run, read_record(run)), base, target, Wish(serve=True))
    done = serve(target / "serve.sh")
    assert done.stdout == f"{target}: serve . --config serve.yaml\n", done.stderr
    assert yaml.safe_load((target / "serve.yaml").read_text())["dtype"] == "float32"
    with (target / "tokenizer.json").open("a") as file:
        file.write(" ")
    assert serve(target / "serve.sh").returncode != 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"target_parameters": ["experts.down_proj"]}, "routed experts"),
        ({"modules_to_save": ["lm_head"]}, "whole matrices"),
        ({"r": 1024}, "up to rank 512"),
    ],
)
def test_an_adapter_that_vllm_does_not_serve_is_refused(
    change: dict[str, object], words: str, own_run: Runs, tmp_path: Path
) -> None:
    from toolkit.files.digests import sha256_file

    run, base = own_run("llama")
    path, record = run / "adapter" / "adapter_config.json", json.loads((run / "run.json").read_text())
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    record["adapter"]["files"]["adapter/adapter_config.json"]["sha256"] = sha256_file(path)
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(TkError, match=words) as error:
        export_adapter_for_vllm(run, papers_of(run, read_record(run)), base, tmp_path / "vllm")
    assert "--merge --vllm" in str(error.value.hint)
    assert not (tmp_path / "vllm").exists()


def test_a_rank_between_those_of_vllm_is_served_with_the_next() -> None:
    from toolkit.training.export.serving import served_rank

    assert served_rank({"r": 24}) == 32
    assert served_rank({"r": 8, "rank_pattern": {"q_proj": 65}}) == 128
    assert list(RANKS) == sorted(RANKS)
