"""Loss, packing, targets and loading, each against a plain calculation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from toolkit.errors import TkError
from toolkit.training.batches import PackedCollator, PaddedCollator, bins
from toolkit.training.encoding import IGNORED

FAMILIES = ("qwen2", "qwen3", "llama", "mistral", "deepseek_v3")


def rows(vocabulary: int = 300, count: int = 7) -> list[dict[str, list[int]]]:
    random = Random(5)
    made = []
    for _ in range(count):
        ids = [random.randrange(20, vocabulary) for _ in range(random.randrange(6, 40))]
        half = len(ids) // 2
        made.append({"input_ids": ids, "labels": [IGNORED] * half + ids[half:]})
    return made


def losses_of(model: Any, batch: dict[str, Any]) -> Any:
    from toolkit.training.losses import next_token_losses

    return next_token_losses(model, {name: value for name, value in batch.items() if name != "labels"}, batch["labels"])


def sharpened(base: Any) -> Any:
    """Weights four times as large, so that attention to the wrong row would show."""
    import torch

    with torch.no_grad():
        for name, parameter in base.named_parameters():
            if "proj" in name:
                parameter.mul_(4.0)
    return base.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_do_not_see_each_other(family: str, bases: Callable[[str], Path]) -> None:
    import torch

    from toolkit.training.base import load_base

    model = sharpened(load_base(bases(family), dtype="float32", device="cpu"))
    with torch.no_grad():
        alone = torch.cat([losses_of(model, PaddedCollator(0)([row])) for row in rows()])
        packed = losses_of(model, PackedCollator(0)(rows()))
        padded = losses_of(model, PaddedCollator(0)(rows()))
    assert torch.allclose(alone.sort().values, packed.sort().values, atol=2e-4)
    assert torch.allclose(alone.sort().values, padded.sort().values, atol=2e-4)


def test_the_tiled_loss_has_the_value_and_gradient_of_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    from toolkit.training import losses

    monkeypatch.setattr(losses, "TILE_VALUES", 50 * 7)  # seven tokens a tile, the last one short
    torch.manual_seed(0)
    hidden, head = torch.randn(24, 16, requires_grad=True), torch.randn(50, 16)
    targets, upstream = torch.randint(0, 50, (24,)), torch.rand(24)
    ours = losses._tiled_loss().apply(hidden, head, None, [], targets)
    (ours * upstream).sum().backward()
    other = hidden.detach().clone().requires_grad_()
    plain = cross_entropy(other @ head.T, targets, reduction="none")
    (plain * upstream).sum().backward()
    assert torch.allclose(ours, plain, atol=1e-5)
    assert torch.allclose(hidden.grad, other.grad, atol=1e-5)  # type: ignore[arg-type]


def test_bins_hold_every_row_once_and_never_too_much() -> None:
    random = Random(1)
    lengths = [random.randrange(1, 100) for _ in range(200)]
    filled = bins(lengths, 100)
    assert sorted(index for one in filled for index in one) == list(range(200))
    assert all(sum(lengths[index] for index in one) <= 100 for one in filled)
    best = max(sum(lengths) / 100, sum(length > 50 for length in lengths))
    assert len(filled) <= best * 11 / 9 + 1  # what best-fit decreasing promises


def test_packing_leaves_less_padding_than_padding() -> None:
    packed, padded = PackedCollator(0)(rows(count=16)), PaddedCollator(0)(rows(count=16))
    assert packed["input_ids"].numel() < 0.8 * padded["input_ids"].numel()
    assert (packed["labels"] != IGNORED).sum() == (padded["labels"] != IGNORED).sum()


@pytest.mark.parametrize(
    ("family", "targets", "wrong"),
    [
        ("qwen2", ("q_proj", "c_attn"), "no linear module c_attn"),
        ("deepseek_v3", ("o_proj", "gate_proj", "up_proj", "down_proj"), "routed experts of deepseek_v3"),
        ("llama", ("lm_head",), "lm_head is ignored"),
        ("llama", (), "no target at all"),
    ],
)
def test_a_target_that_cannot_be_adapted_is_an_error(
    family: str, targets: tuple[str, ...], wrong: str, bases: Callable[[str], Path], papers: Callable[..., Any]
) -> None:
    from dataclasses import replace

    from toolkit.training.adapters import add_adapter
    from toolkit.training.base import load_base
    from toolkit.training.settings import settings_of

    _, recipe, plan, *_ = papers(family)
    settings = replace(settings_of(recipe, plan.choices, "cpu"), targets=targets)
    with pytest.raises(TkError, match=wrong):
        add_adapter(load_base(bases(family), dtype="float32", device="cpu"), settings)


def test_weights_that_are_not_safetensors_are_not_loaded(tmp_path: Path) -> None:
    from toolkit.training.base import load_base

    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(TkError, match="no safetensors"):
        load_base(tmp_path, dtype="float32", device="cpu")


def test_code_of_a_base_is_not_run_unless_asked(tmp_path: Path, bases: Callable[[str], Path]) -> None:
    import json
    import shutil

    from toolkit.training.base import load_base

    folder = tmp_path / "base"
    shutil.copytree(bases("qwen2"), folder)
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="acme", auto_map={"AutoConfig": "acme.Config", "AutoModelForCausalLM": "acme.Model"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "acme.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').write('ran')\n")
    with pytest.raises(TkError) as caught:
        load_base(folder, dtype="float32", device="cpu")
    assert "trust_remote_code: true" in str(caught.value.hint)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_without_padding_takes_one_of_its_own(tmp_path: Path, make_tokenizer: Callable[..., Any]) -> None:
    from toolkit.training.base import load_tokenizer

    make_tokenizer(pad=None).save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).pad_token == "<|endoftext|>"


def test_the_end_of_the_turn_becomes_the_end_token_of_the_saved_tokenizer(
    bases: Callable[[str], Path], make_tokenizer: Callable[..., Any]
) -> None:
    from toolkit.training.base import align_tokens, load_base
    from toolkit.training.masks import Template

    tokenizer = make_tokenizer(eos="<|endoftext|>", pad="<s>")  # a base: texts end in one token, turns in another
    model = load_base(bases("qwen2"), dtype="float32", device="cpu")
    model.generation_config.eos_token_id = 0
    stops = align_tokens(model, tokenizer, Template(tokenizer).end_of_turn())
    assert tokenizer.eos_token == "<|im_end|>"
    assert set(tokenizer.convert_ids_to_tokens(list(stops))) == {"<|im_end|>", "<|endoftext|>"}
