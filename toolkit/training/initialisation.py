"""How an adapter begins: what PEFT does by itself, what it needs from us, and what that means for the base beneath.

LoRA's own beginning changes nothing: one factor is zero. PiSSA and OLoRA take the factors out of the base's matrices, so
that the base is another one while the adapter is trained; EVA reads them off the data; LoftQ makes them of what
quantisation lost.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.planning.adapter_kind import takes_from_the_base
from toolkit.training.settings import Settings

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor

    from toolkit.training.encoding import Encoded

_BEGINNING = "_tk_beginning"  # on a PEFT model: the factors as they were taken out of the base
_EVA_PASSES = 1000  # far more than EVA needs: its authors' runs converge within a few dozen


def peft_init(settings: Settings) -> bool | str:
    """What `LoraConfig(init_lora_weights=…)` gets. LoftQ's is ours (`loftq`): PEFT's own begins with a 16-bit base."""
    return True if settings.init in ("default", "loftq") else settings.init


def begin(adapted: PeftModel, settings: Settings, rows: Encoded | None) -> None:
    """Finish the beginning of an adapter that PEFT has just made. Raises TkError where EVA finds nothing to go by."""
    if takes_from_the_base(settings.init):
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(adapted, save_embedding_layers=False)
        adapted.__dict__[_BEGINNING] = {name: value.detach().cpu().clone() for name, value in state.items()}
    elif settings.init == "eva":
        _eva(adapted, settings, rows)
    elif settings.init == "loftq":
        _loftq(adapted)


def beginning(adapted: PeftModel) -> Mapping[str, Tensor] | None:
    """The factors that were taken out of the base, by the names of a saved adapter; None where none were."""
    found: Mapping[str, Tensor] | None = adapted.__dict__.get(_BEGINNING)
    return found


@contextmanager
def base_alone(adapted: PeftModel) -> Iterator[None]:
    """While open, before the first step: the model answers as its base does.

    A base that an adapter was taken out of is itself only together with that adapter, up to one rounding of its weights.
    """
    if beginning(adapted) is not None:
        yield
        return
    with adapted.disable_adapter():
        yield


@contextmanager
def saved_beginning(adapted: PeftModel) -> Iterator[str | None]:
    """A folder with the adapter's beginning, for PEFT to convert the trained one to the original base; else None.

    Its conversion (`path_initial_model_for_weight_conversion`) puts trained and negative first factors side by side, so
    that an adapter of twice the rank says what training changed.
    """
    import copy

    from safetensors.torch import save_file

    factors = beginning(adapted)
    if factors is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "beginning"
        folder.mkdir()
        config = copy.deepcopy(adapted.peft_config["default"])
        config.init_lora_weights = True  # or PEFT would take the factors out of the base once more
        config.save_pretrained(str(folder))
        save_file(dict(factors), folder / "adapter_model.safetensors", metadata={"format": "pt"})
        yield str(folder)


def _eva(adapted: PeftModel, settings: Settings, rows: Encoded | None) -> None:
    """Explained Variance Adaptation (https://arxiv.org/abs/2410.07170): factors and ranks from the data's activations."""
    import torch
    from peft import initialize_lora_eva_weights

    from toolkit.training.batches import PaddedCollator

    if rows is None:
        raise ValueError("EVA begins with the training rows")
    texts = [{"input_ids": ids, "labels": labels} for ids, labels in zip(rows.input_ids, rows.labels, strict=True)]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(settings.seed)).tolist()
    size = max(settings.micro_batch_size, 2)
    collate = PaddedCollator(adapted.config.get_text_config().pad_token_id or 0)
    batches = [collate([texts[i] for i in order[at : at + size]]) for at in range(0, len(order), size)]
    passes = 0

    def forward(model: Any, inputs: Mapping[str, Tensor]) -> None:
        nonlocal passes
        passes += 1
        if passes > _EVA_PASSES:
            raise TkError(
                f"EVA has found no stable directions in {_EVA_PASSES} batches",
                where="adapter.init",
                hint="it wants more, or more varied, rows than a rank's worth of tokens; or leave adapter.init out",
            )
        causal = model.get_base_model()
        causal.base_model(**{name: value for name, value in inputs.items() if name != "labels"}, use_cache=False)

    initialize_lora_eva_weights(adapted, batches, forward_fn=forward, show_progress_bar=False)
    config = adapted.peft_config["default"]  # what is saved is plain LoRA with a pattern of ranks
    config.init_lora_weights, config.eva_config = True, None


def _loftq(adapted: PeftModel) -> None:
    """LoftQ (https://arxiv.org/abs/2310.08659), one step: the adapter begins as the best approximation of what NF4 lost.

    In place of PEFT's `replace_lora_weights_loftq` (0.21.2), which computes on CUDA alone and leaves out that a layer
    multiplies its factors by alpha/rank, so that with alpha twice the rank it would begin with twice the correction.
    """
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from peft.tuners.lora import Linear4bit

    originals = _Weights(Path(str(adapted.get_base_model().name_or_path)))
    for name, module in adapted.named_modules():
        if not isinstance(module, Linear4bit):
            continue
        weight, factor_a, factor_b = module.weight, module.lora_A["default"].weight, module.lora_B["default"].weight
        held = dequantize_4bit(weight.data, weight.quant_state).float()
        original = originals[name.removeprefix("base_model.model.") + ".weight"].to(held.device).float()
        left, sizes, right = torch.linalg.svd(original - held, full_matrices=False)
        rank = factor_a.shape[0]
        root = (sizes[:rank] / module.scaling["default"]).sqrt()
        factor_a.data = (root[:, None] * right[:rank]).to(factor_a.dtype).contiguous()
        factor_b.data = (left[:, :rank] * root).to(factor_b.dtype).contiguous()


class _Weights:
    """The tensors of a base's safetensors files by name, read one at a time."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        files: list[Any] = [safe_open(path, framework="pt") for path in sorted(folder.glob("*.safetensors"))]
        self._of = {name: file for file in files for name in file.keys()}  # noqa: SIM118  # not a mapping

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._of:
            raise TkError(
                f"the base's files hold no {name}", where="adapter.init", hint="loftq compares with the 16-bit weights"
            )
        tensor: Tensor = self._of[name].get_tensor(name)
        return tensor
