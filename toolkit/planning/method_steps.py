"""What a method makes of an optimiser step: how many rows an example becomes, passes without gradients, sampling.

Memory of a step is that of supervised fine-tuning on as many rows, for which the forms are exact: the reference's
log-probabilities are computed before training and kept as numbers, so that no second model and no second pass lies in
memory beside the activations. What sampling holds is counted apart. Those figures are estimates, and say so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from toolkit.planning.architecture import Shape
from toolkit.planning.estimates import MemoryEstimate
from toolkit.planning.recipe import Recipe
from toolkit.planning.roofline import LAYER_OPERATIONS, Rates

_FORWARD_SHARE = 1 / 3  # of the operations that a layer dispatches in a forward and backward pass


@dataclass(frozen=True, slots=True)
class MethodStep:
    """`sequences` rows are computed for one row of a micro-batch, `extra_forwards` forward passes of a step's rows have
    no gradient, `sampled` tokens are generated for each row. `smallest` is the least micro-batch that makes sense."""

    method: str = "sft"
    sequences: int = 1
    extra_forwards: float = 0.0
    sampled: int = 0
    smallest: int = 1
    packs: bool | None = None  # None: as it pays
    shares: bool = True  # whether several devices can share its batches; toolkit.training.distributed deals plain rows

    def memory(self, step: MemoryEstimate, shape: Shape, rows: int, length: int, element_bytes: int) -> MemoryEstimate:
        """The wider of the training step and of sampling `rows` answers of up to `length` tokens, prompt included.

        Sampling holds the weights, the adapter and its optimiser states, the keys and values of every row, and the
        logits of one token a row in float32, twice over while they are sorted and normalised.
        """
        if not self.sampled:
            if self.method in ("sft", "pretrain"):
                return step
            return replace(step, answered_by=f"{step.answered_by} of {self.method}'s rows as plain ones, an estimate")
        resident = ("base_weights", "quantisation_state", "adapter", "optimizer")
        held = {name: step.parts[name] for name in resident if name in step.parts}
        cache = cache_bytes(shape, element_bytes) * rows * length
        logits = 2 * 4 * shape.vocab * rows
        parts = {**held, "key_value_cache": cache, "logits_and_loss": logits}
        said = f"{step.answered_by} of plain rows, and arithmetic for sampling, an estimate"
        if sum(parts.values()) <= step.peak_bytes:
            return replace(step, answered_by=said)
        return MemoryEstimate(sum(parts.values()), f"sampling of {rows} answers", parts, said)

    def sampling_seconds(self, shape: Shape, rates: Rates, rows: int, weight_bytes: float, element_bytes: int) -> float:
        """Predicted time to sample the answers of a step: each token reads all weights and half of the final cache."""
        if not self.sampled:
            return 0.0
        cache = cache_bytes(shape, element_bytes) * rows * self.sampled / 2
        reading = (weight_bytes + cache) / rates.bandwidth
        launching = _FORWARD_SHARE * LAYER_OPERATIONS * shape.layers * rates.launch_seconds
        computing = 2 * rows * (shape.parameters - shape.embedding_parameters) / rates.flops
        return self.sampled * max(reading, launching, computing)


SUPERVISED = MethodStep()


def step_of(recipe: Recipe) -> MethodStep:
    """What the method of a recipe makes of a step."""
    epochs = max(recipe.train.epochs, 1.0)
    if recipe.method == "pretrain":
        return MethodStep("pretrain", packs=True)
    if recipe.method == "dpo":  # the reference reads every row once, before the first epoch
        return MethodStep("dpo", sequences=2, extra_forwards=1 / epochs, packs=False, shares=False)
    if recipe.method == "orpo":
        return MethodStep("orpo", sequences=2, packs=False, shares=False)
    if recipe.method == "kto":  # answers under each other's prompts, in every step and once for the reference
        return MethodStep("kto", extra_forwards=1 + 2 / epochs, smallest=2, packs=False, shares=False)
    if recipe.method == "grpo":
        reference = 1.0 if recipe.grpo.beta else 0.0
        return MethodStep(
            "grpo", extra_forwards=reference, sampled=recipe.grpo.max_completion_length, packs=False, shares=False
        )
    return SUPERVISED


def cache_bytes(shape: Shape, element_bytes: int) -> int:
    """Bytes of keys and values that generation keeps for one token, all layers together.

    Latent attention is cached expanded to its heads, as transformers 5 does.
    """
    if shape.latent is not None:
        latent = shape.latent
        return element_bytes * shape.layers * shape.heads * (latent.qk_nope + latent.qk_rope + latent.v)
    return 2 * element_bytes * shape.layers * shape.key_width
