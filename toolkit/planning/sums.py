"""Peak memory of a step as a sum written by hand, for what no forms were derived from traces.

That is a mixture of experts whose experts are quantised or adapted, and whole logits off a GPU. The parts of a layer are
counted (`toolkit.planning.activations`) and the widest moment is looked for (`moments`).
"""

from __future__ import annotations

from collections.abc import Collection

from toolkit.planning.activations import Setting
from toolkit.planning.additions import Additions
from toolkit.planning.architecture import Shape
from toolkit.planning.estimates import ADAPTER_BYTES, MemoryEstimate
from toolkit.planning.moments import Moment, step_moments


def summed_estimate(
    shape: Shape,
    weights: tuple[int, int],
    *,
    adapter: str,
    rank: int,
    targets: Collection[str],
    batch: int,
    length: int,
    checkpointing: bool,
    element_bytes: int,
    loss: str,
    optimizer_bytes: float,
    foreach: bool,
    accumulation: int,
    dropout: float,
    masked: bool,
    device_kind: str,
    trained_bytes: int,
    added: Additions,
) -> MemoryEstimate:
    """The estimate, as `toolkit.planning.memory.estimate` takes it. `weights` are the bytes of the base and
    of its quantisation state, `optimizer_bytes` those per trained parameter, `foreach` whether the optimiser copies what
    it updates, `trained_bytes` all that is trained in float32, `added` what the adapter's kind makes on top."""
    tokens = batch * length
    mask_bytes = 4 if device_kind == "cpu" else 1  # a CPU's dropout mask has the format of its input
    setting = Setting(
        targets=targets,
        rank=rank,
        tokens=tokens,
        length=length,
        element_bytes=element_bytes,
        own_copies=element_bytes != ADAPTER_BYTES and (adapter == "lora" or device_kind not in ("cuda", "rocm")),
        dropout_mask_bytes=mask_bytes if dropout else 0,
        masked=masked,
        exact_math=device_kind == "cpu" and shape.latent is not None,
    )
    trained, gradients = trained_bytes // ADAPTER_BYTES, trained_bytes
    peak = max(
        Moment(
            "optimiser step",
            working_buffers=gradients if foreach else 0,
            gradients=0 if accumulation > 1 else gradients,
        ),
        *step_moments(shape, setting, adapter=adapter, checkpointing=checkpointing, loss=loss),
        key=lambda moment: moment.total,
    )
    attention_mask = element_bytes * length * tokens if masked and peak.activations else 0
    cast = element_bytes * trained if element_bytes != ADAPTER_BYTES and not checkpointing and peak.activations else 0
    parts = {
        "base_weights": weights[0],
        "quantisation_state": weights[1],
        "adapter": gradients,
        "gradients": peak.gradients + (gradients if accumulation > 1 else 0),
        "optimizer": int(optimizer_bytes * trained),
        "activations": peak.activations,
        "logits_and_loss": peak.logits_and_loss,
        "working_buffers": peak.working_buffers + attention_mask + cast,  # `cast`: autocast's 16-bit adapter
    }
    parts = {name: size + added.parts.get(name, 0) for name, size in parts.items()}
    parts = {name: size for name, size in parts.items() if size}
    return MemoryEstimate(sum(parts.values()), peak.name, parts, "sums written by hand" + added.words)
