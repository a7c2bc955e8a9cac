"""The real model class of a configuration with its adapter, made of tensors that have shapes and no memory.

Built on the meta device (no weights are drawn, ties are kept), then every parameter and buffer is exchanged for a fake
one: inside the fake mode, modules could not be moved or quantised as they are when a checkpoint is loaded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from toolkit.errors import TkError
from toolkit.training.adapters import add_adapter
from toolkit.training.base import compute_dtype, eight_bit, four_bit
from toolkit.training.experts import FUSED, is_fused, use_these_experts

if TYPE_CHECKING:
    from toolkit.training.settings import Settings
    from toolkit.training.tracing.ledger import Ledger


def config_of(fields: Mapping[str, object]) -> Any:
    """The transformers configuration of a `config.json`'s fields. Raises TkError where there is none."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    values = {name: value for name, value in fields.items() if name not in ("quantization_config", "auto_map")}
    try:
        return AutoConfig.for_model(str(values.pop("model_type", None)), **values)
    except (ValueError, KeyError, TypeError, StrictDataclassError) as error:
        raise TkError(
            f"transformers cannot read this configuration: {first_line(error)}",
            where="config.json",
            hint="--exact works for what AutoModelForCausalLM can build; a newer transformers may know this one",
        ) from error


def shorter(config: Any, layers: int) -> Any:
    """The configuration with its first layers only; lists with an entry per layer are cut with it."""
    cut = copy.deepcopy(config)
    text = cut.get_text_config()
    count = text.num_hidden_layers
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == count:
            setattr(text, name, value[:layers])
    text.num_hidden_layers = layers
    return cut


def meta_base(config: Any, attention: str, dtype: str = "bfloat16") -> Any:
    """The causal language model of a configuration on the meta device. Raises TkError where there is none."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype), attn_implementation=attention)
    except (ValueError, KeyError, ImportError, AttributeError, RuntimeError) as error:
        raise TkError(
            f"transformers cannot build a causal language model of it: {first_line(error)}", where="config.json"
        ) from error
    model.tie_weights()
    model.config.use_cache = False
    return model


def quantise(base: Any, settings: Settings) -> None:
    """Put 4-bit modules and experts where they are when a checkpoint is loaded in NF4, or 8-bit modules; their weights
    stay on meta."""
    from bitsandbytes.nn import Params4bit
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    if settings.bits == 8:
        in_bytes = eight_bit()
        in_bytes.llm_int8_threshold = 0.0  # how many columns are outliers depends on values: a trace leaves them out
        replace_with_bnb_linear(base, get_keys_to_not_convert(base), in_bytes)
        base.is_loaded_in_8bit, base.config.quantization_config = True, in_bytes
        return
    quantisation = four_bit(compute_dtype(settings.dtype, settings.device_type))
    replace_with_bnb_linear(base, get_keys_to_not_convert(base), quantisation)
    for experts in filter(is_fused, base.modules()):
        for name in FUSED:
            # As `toolkit.training.expert_weights` does while it reads a checkpoint.
            parameter = Params4bit(
                experts._parameters[name],
                requires_grad=False,
                compress_statistics=quantisation.bnb_4bit_use_double_quant,
                quant_type=quantisation.bnb_4bit_quant_type,
            )
            parameter.multiplied_in = quantisation.bnb_4bit_compute_dtype
            experts._parameters[name] = parameter
    if any(map(is_fused, base.modules())):
        use_these_experts(base)
    base.is_loaded_in_4bit = True
    base.config.quantization_config = quantisation


def adapted(base: Any, settings: Settings, adapter_dtype: str) -> Any:
    """The base with its adapter (in `adapter_dtype`) and checkpointing as the trainer sets it up, still on meta."""
    import torch

    with torch.device("meta"), weights_for_dora():
        model: Any = add_adapter(
            base, replace(settings, init="default"), StandIn(base) if settings.new_tokens else None
        )
    if adapter_dtype != "float32":
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(getattr(torch, adapter_dtype))
    if settings.checkpointing:
        base.activation_checkpointing_enable()
    model.train()
    return model


def materialise(model: Any, ledger: Ledger, dtype: str) -> None:
    """Exchange every tensor of `model` for a fake one and enter it in the ledger. Call it in the fake mode."""
    import torch

    exchanged: dict[int, Any] = {}  # by identity, so that tied weights stay tied
    originals = list(model.parameters())  # kept alive, so that no identity is used twice
    with _fake_table():
        for parameter in originals:
            exchanged[id(parameter)] = _exchange(parameter, dtype, ledger)
        for module in model.modules():
            if type(module).__module__.startswith("bitsandbytes") and hasattr(module, "state"):
                module.state.CB = exchanged[id(module.weight)]
                module.state.SCB = torch.empty(module.out_features)
                ledger.own(module.state.SCB, "quantisation_state")
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = exchanged[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
                ledger.own(module._buffers[name], "base_weights")


@contextmanager
def _fake_table() -> Iterator[None]:
    """bitsandbytes makes its table of 8-bit values once per process; in the fake mode it must be a fake one."""
    import torch
    from bitsandbytes import functional

    with patch.dict(functional.name2qmap, {"dynamic": torch.empty(256)}):
        yield


def _exchange(parameter: Any, dtype: str, ledger: Ledger) -> Any:
    import torch

    if type(parameter).__name__ == "Params4bit":
        return _four_bit(parameter, dtype, ledger)
    if type(parameter).__name__ == "Int8Params":
        fake = torch.nn.Parameter(torch.empty(parameter.shape, dtype=torch.int8), requires_grad=False)
        fake.CB = None  # its state has it already, as after a first forward pass
        ledger.own(fake, "base_weights")
        return fake
    fake = torch.nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype), parameter.requires_grad)
    ledger.own(fake, "adapter" if parameter.requires_grad else "base_weights")
    if parameter.requires_grad:
        fake.register_post_accumulate_grad_hook(lambda owner: ledger.own(owner.grad, "gradients"))
    return fake


def _four_bit(parameter: Any, dtype: str, ledger: Ledger) -> Any:
    """A 4-bit weight: bitsandbytes' own quantisation of a fake one. Its Params4bit cannot hold a fake tensor, so a
    plain parameter carries the state."""
    import torch
    from bitsandbytes import functional

    weight = torch.empty(parameter.shape, dtype=getattr(torch, dtype))
    packed, state = functional.quantize_4bit(
        weight, blocksize=64, compress_statistics=parameter.compress_statistics, quant_type=parameter.quant_type
    )
    state.dtype = getattr(parameter, "multiplied_in", state.dtype)
    fake = torch.nn.Parameter(packed, requires_grad=False)
    fake.quant_state = state
    ledger.own(fake, "base_weights")
    for tensor in (state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code):
        ledger.own(tensor, "quantisation_state")
    return fake


class StandIn:
    """A tokenizer as far as `toolkit.training.new_tokens` asks one: the last rows of the base are those of new tokens."""

    def __init__(self, base: Any) -> None:
        self._rows = base.config.get_text_config().vocab_size

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return list(range(self._rows - len(tokens), self._rows))


@contextmanager
def weights_for_dora() -> Iterator[None]:
    """DoRA weighs the base's matrices; PEFT dequantises by the class of a parameter, which a fake one has not."""
    import torch
    from bitsandbytes import functional

    def weight_of(module: Any) -> Any:
        weight, shape = module.weight, (module.out_features, module.in_features)
        if (state := getattr(weight, "quant_state", None)) is not None:
            return functional.dequantize_4bit(weight, state)
        if type(weight).__name__ in ("Params4bit", "Int8Params"):
            return torch.empty(shape, device="meta")
        if weight.dtype == torch.int8:
            return functional.int8_vectorwise_dequant(weight, module.state.SCB)
        return weight

    with patch("peft.tuners.lora.dora.dequantize_module_weight", weight_of):
        yield


def first_line(error: Exception) -> str:
    """What an error of a library says, without its explanations."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
