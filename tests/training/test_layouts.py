"""What makes training fast changes nothing else: losses and gradients beside plain torch, and rows that stay apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from toolkit.errors import TkError
from toolkit.training import layouts
from toolkit.training.batches import FlatCollator, PackedCollator, PaddedCollator
from toolkit.training.encoding import IGNORED, Encoded
from toolkit.training.layouts import Layout, compared_rows, layout_for, leak
from toolkit.training.losses import next_token_losses
from toolkit.training.progress import silent
from toolkit.training.row_attention import NAME, CannotSplit, attend, attending_within_rows
from toolkit.training.settings import Settings, settings_of

FAMILIES = ("qwen2", "qwen3", "llama", "mistral", "deepseek_v3")  # mistral's window is shorter than the longest rows
PADDED = Layout("padded", PaddedCollator(0))
PACKED = {
    "end to end": Layout("flat", FlatCollator(), attending_within_rows),
    "in lines": Layout("lines", PackedCollator(0)),
}


def rows(count: int = 6) -> list[dict[str, list[int]]]:
    random = Random(5)
    made = []
    for _ in range(count):
        ids = [random.randrange(20, 300) for _ in range(random.randrange(6, 40))]
        made.append({"input_ids": ids, "labels": [IGNORED] * (len(ids) // 2) + ids[len(ids) // 2 :]})
    return made


def encoded(count: int = 6) -> Encoded:
    return Encoded([row["input_ids"] for row in rows(count)], [row["labels"] for row in rows(count)])


@pytest.fixture
def settings(papers: Callable[..., Any]) -> Callable[..., Settings]:
    def make(family: str = "qwen2", adapter: str = "lora", **changes: Any) -> Settings:
        _, recipe, plan, *_ = papers(family, adapter)
        return replace(settings_of(recipe, plan.choices, "cpu"), **changes)

    return make


@pytest.fixture
def adapted(bases: Callable[[str], Path], settings: Callable[..., Settings]) -> Callable[..., Any]:
    """A base with an adapter that already does something; projections four times as large, so that rows which see each
    other would show."""

    def make(family: str = "qwen2", adapter: str = "lora") -> Any:
        import torch

        from toolkit.training.adapters import add_adapter
        from toolkit.training.base import load_base

        base = load_base(bases(family), dtype="float32", device="cpu", quantise=adapter == "qlora")
        model = add_adapter(base, settings(family, adapter))
        torch.manual_seed(1)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.05)
                elif "proj" in name and parameter.dtype == torch.float32 and "lora_" not in name:
                    parameter.mul_(4.0)
        return model.train()

    return make


def plain(model: Any, chosen: Sequence[dict[str, list[int]]]) -> Any:
    """Padding, the model's own forward pass, whole logits, torch's cross entropy."""
    from torch.nn.functional import cross_entropy

    batch = PaddedCollator(0)(chosen)
    labels = batch.pop("labels")
    logits = model(**batch, use_cache=False).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum")


def fast(model: Any, chosen: Sequence[dict[str, list[int]]], layout: Layout) -> Any:
    batch = layout.collate(chosen)
    labels = batch.pop("labels")
    with layout.attending(model):
        return next_token_losses(model, batch, labels).sum()


def gradients(model: Any) -> Iterator[Any]:
    for parameter in model.parameters():
        if parameter.requires_grad:
            yield parameter.grad.clone()
            parameter.grad = None


@pytest.mark.parametrize("adapter", ["lora", "qlora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_plain_torch(family: str, adapter: str, adapted: Callable[..., Any]) -> None:
    import torch

    model = adapted(family, adapter)
    expected = plain(model, rows())
    expected.backward()
    wanted = list(gradients(model))
    for layout in (PADDED, *PACKED.values()):
        loss = fast(model, rows(), layout)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5), layout.what
        for mine, theirs in zip(gradients(model), wanted, strict=True):
            assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max())), layout.what


def test_recomputed_activations_keep_rows_apart_too(adapted: Callable[..., Any]) -> None:
    model = adapted()
    expected = float(plain(model, rows()).detach())
    fast(model, rows(), PACKED["end to end"]).backward()
    wanted = list(gradients(model))
    model.get_base_model().activation_checkpointing_enable()
    model.enable_input_require_grads()
    with attending_within_rows(model):  # recomputed in the backward pass, which must be in it
        loss = fast(model, rows(), PACKED["end to end"])
        loss.backward()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert all((a - b).abs().max() <= 1e-4 * b.abs().max() for a, b in zip(gradients(model), wanted, strict=True))


def test_the_trainer_steps_as_plain_torch_does(
    adapted: Callable[..., Any], settings: Callable[..., Settings], tokenizer: Any, tmp_path: Path
) -> None:
    """Two optimiser steps, the second of two micro-batches of unequal tokens: the same losses and weights at the end."""
    import json

    import torch

    from toolkit.training.methods import sft

    data = encoded(8)
    wanted = settings(packing=True, micro_batch_size=2, accumulation=2, max_steps=2, scheduler="constant", warmup=0.0)
    model = adapted()
    sft.train(model, tokenizer, data, wanted, tmp_path, silent, keep_checkpoints=False)
    curve = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]

    other = adapted()
    trained = [parameter for parameter in other.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(trained, lr=wanted.learning_rate, weight_decay=wanted.weight_decay)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(wanted.seed)).tolist()
    for step in range(2):
        chosen = [
            {"input_ids": data.input_ids[index], "labels": data.labels[index]}
            for index in order[4 * step : 4 * step + 4]
        ]
        counted = sum(label != IGNORED for row in chosen for label in row["labels"])
        loss = plain(other, chosen) / counted
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        adam.step()
        adam.zero_grad()
        assert curve[step] == pytest.approx(float(loss.detach()), abs=1e-4)
    mine = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for ours, theirs in zip(mine, trained, strict=True):
        # Adam's first steps are the gradient's signs: where it is nothing but rounding they may differ.
        agree = (ours - theirs).abs() < 0.1 * wanted.learning_rate
        assert agree.float().mean() > 0.99


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_test_before_the_first_step_finds_rows_apart(family: str, name: str, adapted: Callable[..., Any]) -> None:
    assert leak(adapted(family), PACKED[name], PADDED, rows()) < 1e-5


class Leaking(FlatCollator):
    """Rows end to end whose positions run on: what packing without position ids does."""

    def __call__(self, chosen: Sequence[Any]) -> dict[str, Any]:
        import torch

        batch = super().__call__(chosen)
        return batch | {"position_ids": torch.arange(batch["input_ids"].shape[1])[None]}


def test_packing_that_leaks_is_left_out_in_words(
    adapted: Callable[..., Any], settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted()
    assert leak(model, Layout("leaking", Leaking()), PADDED, rows()) > 0.1
    monkeypatch.setattr(layouts, "_packed", lambda settings, pad: iter([Layout("leaking", Leaking())]))
    layout, note = layout_for(model, encoded(), settings(packing=True), 0)
    assert isinstance(layout.collate, PaddedCollator)
    assert note is not None
    assert "do not stay apart" in note
    assert "padded instead" in note
    with pytest.raises(TkError, match="do not stay apart"):
        layout_for(model, encoded(), settings(packing=True, packing_asked=True), 0)


def test_a_model_that_drops_the_rows_lengths_is_packed_in_lines(
    adapted: Callable[..., Any], settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted()
    backbone = model.get_base_model().model
    forward = backbone.forward
    monkeypatch.setattr(backbone, "forward", lambda *args, row_lengths=None, **kwargs: forward(*args, **kwargs))
    layout, note = layout_for(model, encoded(), settings(packing=True), 0)
    assert isinstance(layout.collate, PackedCollator)
    assert note is not None
    assert "in lines" in note


@pytest.mark.parametrize(
    "asked", [{}, {"row_lengths": [3], "softcap": 30.0}, {"row_lengths": [3], "is_causal": False}], ids=str
)
def test_attention_that_cannot_be_split_says_so(asked: dict[str, Any]) -> None:
    import torch

    part = torch.ones(1, 2, 3, 4)
    with pytest.raises(CannotSplit):
        attend(torch.nn.Identity(), part, part, part, None, **asked)


def test_the_models_own_attention_is_back_after_training(
    adapted: Callable[..., Any], settings: Callable[..., Settings], tokenizer: Any, tmp_path: Path
) -> None:
    from toolkit.training.methods import sft

    model = adapted()
    seen = []
    watched = lambda event: seen.append(model.config._attn_implementation)  # noqa: E731
    trained = sft.train(
        model, tokenizer, encoded(), settings(packing=True, max_steps=1), tmp_path, watched, keep_checkpoints=False
    )
    assert seen[-1] == NAME
    assert model.config._attn_implementation == "sdpa"
    assert "differ by" in trained.notes[0]


def test_an_evaluation_in_the_middle_of_training_is_the_one_at_its_end(adapted: Callable[..., Any]) -> None:
    import torch

    from toolkit.training.evaluation import mean_loss

    model = adapted().eval()
    with torch.no_grad():
        at_the_end = mean_loss(model, encoded(), 0, lambda done: None)
        with attending_within_rows(model):
            assert mean_loss(model, encoded(), 0, lambda done: None) == at_the_end
            assert model.config._attn_implementation == NAME


def test_a_run_in_16_bits_computes_its_adapter_in_16_bits_off_cuda_too(
    bases: Callable[[str], Path], settings: Callable[..., Settings], tokenizer: Any, tmp_path: Path
) -> None:
    """Autocast is around our loss, which calls the model past the forward pass that accelerate has wrapped."""
    import torch

    from toolkit.training.adapters import add_adapter
    from toolkit.training.base import load_base
    from toolkit.training.methods import sft

    losses, computed = {}, set()
    for dtype in ("float32", "bfloat16"):
        wanted = settings(packing=True, max_steps=1, dtype=dtype)
        model = add_adapter(load_base(bases("qwen2"), dtype=dtype, device="cpu"), wanted)
        layer = model.get_base_model().model.layers[0].mlp.up_proj.lora_A["default"]
        layer.register_forward_hook(lambda module, given, made: computed.add((module.weight.dtype, made.dtype)))
        options = {"keep_checkpoints": False}
        losses[dtype] = sft.train(model, tokenizer, encoded(), wanted, tmp_path / dtype, silent, **options).mean_loss
    assert (torch.float32, torch.bfloat16) in computed  # held in float32, multiplied in bfloat16
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=1e-2)


def test_the_compared_rows_are_few_and_cheap() -> None:
    lengths = [*range(1, 200), 5000]
    chosen = compared_rows(Encoded([[1] * length for length in lengths], [[1] * length for length in lengths]))
    assert 2 <= len(chosen) <= 4
    assert sum(len(row["input_ids"]) for row in chosen) < 1024
