"""One optimiser step as the trainer takes it: forward, loss, backward, clipping, update, on whatever tensors there are.

It follows `toolkit.training.methods.sft`: TRL's fused head under CUDA, our tiles elsewhere, mixed precision as
accelerate wraps it around the model's own forward, and as that method does around our loss, which goes past it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from toolkit.planning.memory import OPTIMIZER_BYTES
from toolkit.training.losses import mixed_precision, next_token_losses
from toolkit.training.tracing.depth import OPTIMISER_STEP

if TYPE_CHECKING:
    from torch import Tensor

    from toolkit.training.settings import Settings
    from toolkit.training.tracing.ledger import Ledger

CUDA_KINDS = ("cuda", "rocm")


def make_inputs(settings: Settings) -> dict[str, Tensor]:
    """A micro-batch of full rows: what `toolkit.training.batches` gives, (rows, length) each."""
    import torch

    shape = (settings.micro_batch_size, settings.max_length)
    inputs = {name: torch.zeros(shape, dtype=torch.int64) for name in ("input_ids", "labels")}
    inputs["position_ids" if settings.packing else "attention_mask"] = torch.ones(shape, dtype=torch.int64)
    return inputs


def prepare(model: Any, settings: Settings, loss: str) -> Callable[[dict[str, Tensor]], Tensor]:
    """What computes the loss of a micro-batch, in the trainer's own way; `loss` is chunked or logits."""
    base = model.get_base_model()
    fused = loss == "chunked" and settings.device in CUDA_KINDS and not settings.new_tokens
    if fused:
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
    if settings.dtype in ("bfloat16", "float16"):
        _mix_precision(model, settings.dtype)

    def compute(inputs: dict[str, Tensor]) -> Tensor:
        if loss == "logits":
            return model(**inputs).loss
        if fused:
            outputs = model(**inputs, use_cache=False, fused_lm_head=True)
            return -outputs.log_probs.sum() / outputs.label_mask.numel()
        rest = {name: inputs[name] for name in inputs if name != "labels"}
        with mixed_precision(settings, "cpu"):  # fake tensors are on a CPU
            losses = next_token_losses(model, rest, inputs["labels"])
        return losses.sum() / max(1, losses.numel())

    return compute


def run(
    compute: Callable[[dict[str, Tensor]], Tensor], model: Any, inputs: dict[str, Tensor], ledger: Ledger, update: Any
) -> None:
    """Forward, backward and update. Sections of the ledger that are not the layers' own begin here."""
    import torch

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    ledger.enter("embedding")
    loss = compute(inputs)
    loss.backward()
    del loss
    ledger.enter(OPTIMISER_STEP)
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    update()
    for parameter in trained:
        parameter.grad = None


def optimiser(model: Any, settings: Settings, ledger: Ledger) -> Callable[[], None]:
    """The update of the adapter, with the states that exist from the second step on."""
    import torch

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not settings.optimizer.startswith("adamw_torch"):
        # The others update in place, and what their states take is arithmetic.
        each = OPTIMIZER_BYTES[settings.optimizer]
        states = [torch.empty(int(each * parameter.numel()), dtype=torch.uint8) for parameter in trained if each]
        for state in states:
            ledger.own(state, "optimizer")
        return states.clear
    fused = settings.optimizer == "adamw_torch_fused"
    # On a GPU AdamW updates all parameters at once, on a CPU one after the other.
    together = not fused and settings.device != "cpu"
    adam = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, foreach=together, fused=fused)
    for parameter in trained:
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        for tensor in moments.values():
            ledger.own(tensor, "optimizer")
        adam.state[parameter] = {"step": torch.ones(()), **moments}
    update: Callable[[], None] = adam.step
    return update


def hold_gradients(model: Any, ledger: Ledger) -> None:
    """Gradients of earlier micro-batches, which accumulation keeps through the whole pass."""
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
            ledger.own(parameter.grad, "gradients")


@contextlib.contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """PEFT asks whether CUDA's autocast is on before it casts the input of an adapter on a 4-bit matrix."""
    import torch

    if settings.device not in CUDA_KINDS or settings.dtype == "float32":
        yield
        return
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)


def _mix_precision(model: Any, dtype: str) -> None:
    """What `Accelerator.prepare` does to a model (accelerate 1.15): autocast inside, float32 outputs."""
    import torch
    from accelerate.utils import convert_outputs_to_fp32

    forward = torch.autocast("cpu", dtype=getattr(torch, dtype))(model.forward)
    model.forward = convert_outputs_to_fp32(forward)
