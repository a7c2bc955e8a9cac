"""LoRA on the matrices of a mixture of experts, in files that PEFT alone loads.

PEFT reads the names gate_proj, up_proj and down_proj of a mixture as its routed experts, whatever was meant. Its way
around that is `target_parameters`: a parameter named by the end of its path, such as `shared_experts.up_proj.weight` or
`experts.down_proj`. A plain PEFT then adds the update to the weight at every step, which neither works on 4-bit weights
nor is cheap. So while training, this module puts PEFT's ordinary LoRA layer on a linear module named in that way, and a
layer that adds the update to the product on fused experts; names and shapes of the weights are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.training.experts import is_fused, is_quantised, shape_of, updated

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch import Tensor
    from torch.nn import Module


def use_these_layers(config: LoraConfig) -> None:
    """Make `get_peft_model` with `config` take the layers of this module; nothing of that is saved."""
    from torch.nn import Module

    config._register_custom_module({Module: _layer})


def _layer(
    target: Module, adapter_name: str, config: LoraConfig, parameter_name: str | None = None, **rest: Any
) -> Module | None:
    """The layer for a parameter named in `target_parameters`; None where PEFT's own is right."""
    from peft.tuners.lora.bnb import dispatch_bnb_4bit
    from peft.tuners.lora.layer import dispatch_default
    from torch.nn import Linear

    if parameter_name is None:
        return None
    if isinstance(target, Linear):
        quantised = dispatch_bnb_4bit(target, adapter_name, config=config, **rest)
        return quantised or dispatch_default(target, adapter_name, config=config, **rest)
    if is_fused(target.get_base_layer() if hasattr(target, "get_base_layer") else target):
        return _experts_layer()(target, adapter_name, parameter_name=parameter_name, config=config, **rest)
    return None


@cache
def _experts_layer() -> Any:
    """The layer; made on first use, since PEFT is imported no earlier."""
    from peft.tuners.lora.layer import ParamWrapper

    class ExpertsLayer(ParamWrapper):  # type: ignore[misc]  # peft is not followed
        """PEFT's layer for one fused parameter, whose update goes to the product; two of them nest."""

        def _get_in_out_features(self, module: Module) -> tuple[int, int]:
            self.num_experts, *widths = shape_of(self.get_param())
            self._param_ndim = 3
            return tuple(widths)  # type: ignore[return-value]  # PEFT swaps the two for this layout

        @contextmanager
        def _activate_lora(self, active_adapters: Sequence[str]) -> Iterator[None]:
            active = [name for name in active_adapters if name in self.lora_A]
            if not active:
                yield
                return
            (name,) = active
            with updated(self.get_base_layer(), self.parameter_name, self._factors(name)):
                yield

        def _factors(self, name: str) -> tuple[Tensor, Tensor, float]:
            lower, upper = self.lora_A[name].weight, self.lora_B[name].weight
            rank = self.r[name]
            # PEFT's layout: A is (experts x rank, in), the experts outermost; B is (out, rank x experts), innermost.
            lower = lower.reshape(self.num_experts, rank, -1)
            return lower, upper.reshape(-1, rank, self.num_experts).permute(2, 0, 1), self.scaling[name]

        def merge(self, *args: Any, **options: Any) -> None:
            if is_quantised(self.get_param()):
                raise TkError(
                    "an adapter cannot be merged into experts in 4 bits", hint="merge it into the 16-bit base"
                )
            super().merge(*args, **options)

    ExpertsLayer.__name__ = ParamWrapper.__name__  # PEFT asks for it by this name before it nests one in another
    return ExpertsLayer
