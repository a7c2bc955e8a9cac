"""Finished runs on the tiny bases, made once: a 4-bit one, one with experts in 4 bits, and one in 16 bits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KINDS = {
    "mistral": ("lora", "torch.float32", "[q_proj, down_proj], dora: true, new_tokens: [<so>, <then>]"),
    "qwen3": ("lora-8bit", "torch.bfloat16", "[q_proj, v_proj, up_proj]"),
    "qwen2": ("qlora", "torch.bfloat16", "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]"),
    "deepseek_v3": ("qlora", "torch.bfloat16", "[q_b_proj, o_proj, experts, shared_experts]"),
    "llama": ("lora", "torch.float32", "[q_proj, k_proj, v_proj, o_proj]"),
}


@pytest.fixture(scope="session")
def trained_runs(
    tmp_path_factory: pytest.TempPathFactory, bases: Callable[[str], Path], support: Path
) -> Callable[[str], tuple[Path, Path]]:
    """The run and the base of a family. The bases of quantised runs are stored in bfloat16, as bases are."""
    root = tmp_path_factory.mktemp("runs")

    def made(family: str) -> tuple[Path, Path]:
        run, base = root / f"{family}-run", root / family
        if not run.exists():
            _make(family, run, base, bases(family), support)
        return run, base

    return made


@pytest.fixture
def own_run(trained_runs: Callable[[str], tuple[Path, Path]], tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """A copy of a run that a test may spoil, and its base."""

    def copied(family: str) -> tuple[Path, Path]:
        run, base = trained_runs(family)
        shutil.copytree(run, tmp_path / "run")
        return tmp_path / "run", base

    return copied


def _make(family: str, run: Path, base: Path, source: Path, support: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from toolkit.licensing.judge import Manner
    from toolkit.licensing.library import library
    from toolkit.models.reference import parse_reference
    from toolkit.models.resolve import Access, resolve
    from toolkit.planning.gate import grant
    from toolkit.planning.gpu import named
    from toolkit.planning.prepare import prepare
    from toolkit.planning.recipe import load_recipe
    from toolkit.training.run import finetune

    adapter, dtype, targets = KINDS[family]
    shutil.copytree(source, base)
    if dtype != "torch.float32":
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
        model.save_pretrained(base)
    path = run.parent / f"{family}.yaml"
    path.write_text(
        f"base: {base}\nadapter: {{type: {adapter}, rank: 8, target_modules: {targets}}}\n"
        f"data: {{train: {support}, license: own}}\nuse: {{distribution: internal, commercial: true}}\n"
        "train: {max_steps: 8, batch_size: 8, learning_rate: 5.0e-3, max_length: 128}\n"
        f"evaluate: {{fraction: 0.2, generate: 0}}\noutput: {run}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(str(path))
    access = Access(library(), offline=True)
    prepared = prepare(recipe, named("cpu"), access, Manner())
    verdict = prepared.examination.verdict
    permit = grant(verdict, recipe, "a test, today")
    finetune(permit, recipe, prepared.plan, resolve(parse_reference(str(base)), access), verdict)
