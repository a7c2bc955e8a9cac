"""`trace`: the peak of one training step of any model that transformers can build, without weights or a GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from toolkit.errors import TkError
from toolkit.planning.estimates import MemoryEstimate
from toolkit.training.settings import Settings
from toolkit.training.tracing import depth, kernels, step
from toolkit.training.tracing import model as models
from toolkit.training.tracing.ledger import PARTS, Ledger, recording

CUDA_BLOCK = 512  # bytes: what CUDA's caching allocator rounds up to (c10/cuda/CUDACachingAllocator.cpp, kMinBlockSize)


@dataclass(frozen=True, slots=True)
class Options:
    """What a trace depends on beside the settings of a run: `loss` is chunked (as training has it) or logits (the
    model's own), `block` the allocator's rounding in bytes (None: the device's), `full_depth` to trace every layer,
    `masked` whether attention gets a mask (None: where more than one row may need padding)."""

    loss: str = "chunked"
    adapter_dtype: str = "float32"
    block: int | None = None
    full_depth: bool = False
    masked: bool | None = None


def trace(fields: Mapping[str, object], settings: Settings, options: Options = Options()) -> MemoryEstimate:
    """Peak of an optimiser step after the first, by part and moment, of the base whose `config.json` holds `fields`.

    The step is that of `toolkit.training.methods.sft` with full rows of `settings.max_length` tokens. Models with a run
    of equal layers at their end are traced at two short depths (`answered_by` says which). Raises TkError where
    transformers cannot build the model or its course depends on values.
    """
    sections, how = sections_of(fields, settings, options)
    return peak_of(sections, how)


def sections_of(
    fields: Mapping[str, object], settings: Settings, options: Options = Options()
) -> tuple[depth.Sections, str]:
    """Every moment of the step, by section, and a sentence on the depth that was traced."""
    config = models.config_of(fields)
    count, leading = _layers_in(json.dumps(fields, sort_keys=True))
    short = max(leading, 1) + 1
    block = options.block or (CUDA_BLOCK if settings.device in step.CUDA_KINDS else 1)
    if options.full_depth or short + 1 >= count:
        return record(config, settings, options, Ledger(block)), f"a trace of all {count} layers"
    first, second = (
        record(models.shorter(config, layers), settings, options, Ledger(block)) for layers in (short, short + 1)
    )
    return depth.at_depth(first, second, count - short), f"traces of {short} and {short + 1} of its {count} layers"


@lru_cache(maxsize=8)
def _layers_in(fields: str) -> tuple[int, int]:
    """Layers of a model, and those before the run of equal ones; remembered, as it takes a whole model."""
    return depth.layers_in(models.meta_base(models.config_of(json.loads(fields)), "sdpa"))


def peak_of(sections: depth.Sections, how: str) -> MemoryEstimate:
    """The widest moment of all."""
    name, widest = max(
        ((name, moment) for name, moments in sections.items() for moment in moments), key=lambda found: sum(found[1])
    )
    parts = {part: size for part, size in zip(PARTS, widest, strict=True) if size}
    return MemoryEstimate(sum(widest), name, parts, how)


def _routed(config: Any, settings: Settings) -> int:
    """Rows that go to the experts of a layer: every token to as many as are active."""
    active = getattr(config.get_text_config(), "num_experts_per_tok", None) or 0
    return int(active * settings.micro_batch_size * settings.max_length)


def record(config: Any, settings: Settings, options: Options, ledger: Ledger) -> depth.Sections:
    """Enter one step of a configuration's model in the ledger; gives its sections."""
    from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

    ledger.enter("before")
    masked = settings.micro_batch_size > 1 if options.masked is None else options.masked
    base = models.meta_base(config, settings.attention, settings.dtype)
    if settings.bits is not None:
        models.quantise(base, settings)
    model = models.adapted(base, settings, options.adapter_dtype)
    compute = step.prepare(model, settings, options.loss)
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        kernels.kernels_of(settings.device, masked=masked, routed=_routed(config, settings)),
    ):
        models.materialise(model, ledger, settings.dtype)
        update = step.optimiser(model, settings, ledger)
        inputs = step.make_inputs(settings)
        for tensor in inputs.values():
            ledger.own(tensor, "working_buffers")
        given = {name: tensor for name, tensor in inputs.items() if masked or name != "attention_mask"}
        if settings.accumulation > 1:
            step.hold_gradients(model, ledger)
        depth.mark_layers(model, ledger)
        try:
            with (
                step.announced(settings),
                models.weights_for_dora(),
                recording(ledger, kernels.stand_in(ledger), kernels.hidden_bytes),
            ):
                step.run(compute, model, given, ledger, update)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise TkError(
                f"the step of {config.model_type} depends on values ({error}), so it cannot be traced without them",
                hint="tk plan --probe measures it on the device",
            ) from error
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            raise TkError(
                f"the step of {config.model_type} fails: {models.first_line(error)}",
                where="config.json",
                hint="either its dimensions contradict each other, or transformers cannot train it this way",
            ) from error
    return ledger.sections
