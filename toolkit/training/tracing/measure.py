"""The same step for real: random weights of a real shape on the GPU at hand, and what its allocator counted."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from toolkit.errors import TkError
from toolkit.planning.estimates import MemoryEstimate
from toolkit.training.expert_weights import quantise as quantise_experts
from toolkit.training.settings import Settings
from toolkit.training.tracing import model as models

STEPS = 2  # optimiser states exist from the second on


def measured(fields: Mapping[str, object], settings: Settings) -> MemoryEstimate | None:
    """Peak bytes that torch's allocator handed out over real steps of the trainer; None where memory did not suffice.

    Rows are full and of random tokens, and one of a micro-batch of several is a token shorter, so that it is padded as
    the plan assumes. Raises TkError without a CUDA device.
    """
    import torch

    if not torch.cuda.is_available():
        raise TkError("there is no CUDA device here", hint="without one, the benchmark traces instead")
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        _steps(fields, settings)
    except (torch.OutOfMemoryError, TkError) as error:
        if isinstance(error, TkError) and "out of memory" not in str(error):
            raise
        return None
    peak = int(torch.cuda.max_memory_allocated())
    return MemoryEstimate(peak, "not known", {"measured": peak}, f"{STEPS} steps on {torch.cuda.get_device_name(0)}")


def _steps(fields: Mapping[str, object], settings: Settings) -> None:
    import tempfile
    from dataclasses import replace
    from pathlib import Path

    from toolkit.training.adapters import add_adapter
    from toolkit.training.encoding import Encoded
    from toolkit.training.methods import sft
    from toolkit.training.progress import silent

    model = add_adapter(random_base(fields, settings), settings)
    count = settings.micro_batch_size * settings.accumulation
    rows = [[7] * settings.max_length for _ in range(count)]
    if settings.micro_batch_size > 1:
        rows[:: settings.micro_batch_size] = [row[1:] for row in rows[:: settings.micro_batch_size]]
    with tempfile.TemporaryDirectory() as folder:
        sft.train(model, _tokenizer(), Encoded(rows, rows), replace(settings, max_steps=STEPS), Path(folder), silent)


def random_base(fields: Mapping[str, object], settings: Settings) -> Any:
    """The base on the settings' device, its weights at random; where asked in 4 bits, routed experts too, or in 8,
    quantised matrix by matrix."""
    import torch
    from transformers import AutoModelForCausalLM

    config, device = models.config_of(fields), settings.device_type
    dtype = getattr(torch, settings.dtype)
    if settings.bits is None:
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=settings.attention)
        model.config.use_cache = False
        return model
    model = models.meta_base(config, settings.attention, settings.dtype)
    models.quantise(model, settings)
    quantisation = model.config.quantization_config
    made: dict[int, Any] = {}  # by identity, so that tied weights stay tied
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if id(parameter) not in made:
                    made[id(parameter)] = parameter, _random(parameter, dtype, device, module, quantisation)
                module._parameters[name] = made[id(parameter)][1]
    # Buffers hold values that the class computes; one layer of it has them all.
    values = dict(AutoModelForCausalLM.from_config(models.shorter(config, 1), dtype=dtype).named_buffers())
    for name, buffer in list(model.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        value = values.get(name, torch.zeros(buffer.shape, dtype=buffer.dtype))
        model.get_submodule(owner)._buffers[leaf] = value.to(device)
    return model


def _random(parameter: Any, dtype: Any, device: str, module: Any, quantisation: Any) -> Any:
    import torch
    from bitsandbytes.nn import Linear4bit

    value = torch.randn(parameter.shape, dtype=dtype) * 0.02
    kind = type(parameter)
    if kind.__name__ == "Int8Params":
        return kind(value, requires_grad=False, has_fp16_weights=False).to(device)
    if kind.__name__ != "Params4bit":
        return torch.nn.Parameter(value.to(device), requires_grad=False)
    if not isinstance(module, Linear4bit):  # routed experts, as training quantises them while it reads a checkpoint
        return quantise_experts(value.to(device), quantisation)
    made = kind(
        value,
        requires_grad=False,
        compress_statistics=parameter.compress_statistics,
        quant_type=parameter.quant_type,
        module=module,
    )
    return made.to(device)  # which is when bitsandbytes quantises


def _tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers import models as kinds
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(kinds.WordLevel({"<pad>": 0, "</s>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="</s>")
