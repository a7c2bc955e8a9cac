"""Loading a mixture of experts in 4 bits, its fused experts included, without its 16-bit weights ever all in memory."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from toolkit.training.experts import FUSED, dequantised, is_fused, is_quantised, use_these_experts

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BitsAndBytesConfig, PreTrainedModel

_METHOD = "bitsandbytes_and_experts"


def with_experts(config: BitsAndBytesConfig, through: str | None = None) -> BitsAndBytesConfig:
    """A configuration for `from_pretrained` that quantises what `config` does and the fused experts in the same way.

    Each fused parameter is quantised as soon as it is read (transformers' own hook for quantisation while loading), so
    that beside the 4-bit weights one layer's experts are held in 16 bits. The model that comes of it is for training:
    `save_pretrained` refuses it, `dequantize()` gives the 16-bit model back. Values are quantised where they are read
    to, or on the device `through` and then brought back to main memory.
    """
    return _register()(
        through=through,
        load_in_4bit=True,
        bnb_4bit_quant_type=config.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=config.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=config.bnb_4bit_compute_dtype,
        bnb_4bit_quant_storage=config.bnb_4bit_quant_storage,
    )


def quantise(value: Tensor, config: BitsAndBytesConfig) -> Any:
    """A fused parameter (experts, out, in) in 4 bits: bytes and scales in blocks of 64 along its rows."""
    from bitsandbytes.nn import Params4bit

    parameter = Params4bit(
        value,
        requires_grad=False,
        quant_type=config.bnb_4bit_quant_type,
        compress_statistics=config.bnb_4bit_use_double_quant,
        quant_storage=config.bnb_4bit_quant_storage,
    ).to(value.device)
    parameter.quant_state.dtype = config.bnb_4bit_compute_dtype
    return parameter


@cache
def _register() -> Any:
    """Make transformers know the method, once a process; gives the configuration class."""
    from torch.nn import Parameter
    from transformers import BitsAndBytesConfig
    from transformers.integrations.bitsandbytes import Bnb4bitQuantize
    from transformers.quantizers.auto import register_quantization_config, register_quantizer
    from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer
    from transformers.quantizers.quantizers_utils import get_module_from_name
    from transformers.utils.quantization_config import QuantizationMethod

    @register_quantization_config(_METHOD)
    class Config(BitsAndBytesConfig):  # type: ignore[misc]  # transformers is not followed
        def __init__(self, through: str | None = None, **settings: Any) -> None:
            super().__init__(**settings)
            self.through = through
            self.quant_method = _METHOD  # by this, transformers finds the quantiser below

    def fused(model: PreTrainedModel, name: str) -> bool:
        module, leaf = get_module_from_name(model, name)
        return leaf in FUSED and is_fused(module)

    class Quantise(Bnb4bitQuantize):  # type: ignore[misc]
        def convert(self, input_dict: dict[str, Any], model: Any = None, **rest: Any) -> dict[str, Any]:
            config = self.hf_quantizer.quantization_config
            result: dict[str, Any] = {}
            for name, value in input_dict.items():
                value = value[0] if isinstance(value, list) else value
                value = value.to(config.through) if config.through else value
                if fused(model, name):
                    made = {name: quantise(value, config)}
                else:
                    made = super().convert({name: value}, model=model, **rest)
                result |= {name: part.to("cpu") for name, part in made.items()} if config.through else made
            return result

    @register_quantizer(_METHOD)
    class Quantiser(Bnb4BitHfQuantizer):  # type: ignore[misc]
        def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **rest: Any) -> bool:
            return fused(model, param_name) or super().param_needs_quantization(model, param_name, **rest)

        def get_quantize_ops(self) -> Any:
            return Quantise(self)

        def _process_model_after_weight_loading(self, model: PreTrainedModel, **rest: Any) -> PreTrainedModel:
            # The trainer and accelerate ask by the method's name how such a model may be moved and trained.
            model.quantization_method = self.quantization_config.quant_method = QuantizationMethod.BITS_AND_BYTES
            if any(map(is_fused, model.modules())):
                use_these_experts(model)
            return super()._process_model_after_weight_loading(model, **rest)

        def is_serializable(self) -> bool:
            return False

        def _dequantize(self, model: PreTrainedModel, dtype: Any = None) -> PreTrainedModel:
            for module in filter(is_fused, model.modules()):
                for name in filter(lambda name: is_quantised(getattr(module, name)), FUSED):
                    values = dequantised(getattr(module, name)).to(dtype or model.config.dtype)
                    setattr(module, name, Parameter(values, requires_grad=False))
            return super()._dequantize(model, dtype)

    return Config
