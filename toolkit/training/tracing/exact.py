"""`tk plan --exact`: a plan whose memory was traced, for any base that transformers can build."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from toolkit.models.snapshot import Snapshot
from toolkit.planning.architecture import Matrix, Shape
from toolkit.planning.configuration import config_fields
from toolkit.planning.estimates import MemoryEstimate
from toolkit.planning.memory import TracedShape, fit
from toolkit.planning.plan import Plan
from toolkit.planning.prepare import shape_of
from toolkit.planning.recipe import Recipe
from toolkit.planning.shape import SUPPORTED
from toolkit.training import environment
from toolkit.training.settings import Settings, settings_of
from toolkit.training.tracing import depth
from toolkit.training.tracing import model as models
from toolkit.training.tracing.demand import settings_for
from toolkit.training.tracing.trace import Options, trace

_ROUTERS = ("gate", "router")


def shape_or_trace(snapshot: Snapshot) -> Shape:
    """The shape of a base; of an architecture without forms one that is sized by tracing.

    Raises TkError where transformers cannot build it either.
    """
    config = snapshot.config
    if config is None or config.get("model_type") in SUPPORTED:
        return shape_of(snapshot)
    return traced_shape(config)


def exactly(plan: Plan, recipe: Recipe, snapshot: Snapshot) -> Plan:
    """The plan with the traced memory of the step it chose, and the fit that follows from it."""
    fields = snapshot.config if snapshot.config is not None else config_fields(plan.shape)
    settings = settings_of(recipe, plan.choices, plan.device.kind)
    masked = settings.packing or settings.micro_batch_size > 1
    memory = _quietly(fields, settings, Options(masked=masked))
    found = fit(memory, plan.device)
    suggestions = plan.suggestions
    if found == "does-not-fit" and not suggestions:
        suggestions = ("a smaller train.micro_batch_size: the traced step takes more than the closed form said",)
    return replace(plan, memory=memory, fit=found, suggestions=suggestions if found == "does-not-fit" else ())


def traced_shape(fields: Mapping[str, object]) -> TracedShape:
    """What a plan needs of a model beside its memory, counted on the model class itself."""
    base = models.meta_base(models.config_of(fields), "sdpa")
    text = base.config.get_text_config()
    quantization = fields.get("quantization_config")

    @cache
    def tracer(frozen: tuple[tuple[str, Any], ...]) -> MemoryEstimate:
        options = dict(frozen)
        return _quietly(fields, settings_for(**options), Options(loss=options["loss"], masked=options["masked"]))

    def estimate(**options: Any) -> MemoryEstimate:
        return tracer(tuple(options.items()))

    matrices, unadapted = _matrices(base)
    heads = getattr(text, "num_attention_heads", None) or 1
    hidden = text.hidden_size
    return TracedShape(
        model_type=str(fields["model_type"]),
        hidden=hidden,
        intermediate=getattr(text, "intermediate_size", None) or 0,
        layers=text.num_hidden_layers,
        heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or hidden // heads,
        vocab=text.vocab_size,
        tied=bool(getattr(text, "tie_word_embeddings", False)),
        attention_bias=False,
        qk_norm=False,
        max_positions=getattr(text, "max_position_embeddings", None) or 2**31,
        quantization=str(quantization.get("quant_method")) if isinstance(quantization, Mapping) else None,
        linear=matrices,
        unadapted=unadapted,
        counted=sum(parameter.numel() for parameter in base.parameters()),
        tracer=estimate,
    )


def _quietly(fields: Mapping[str, object], settings: Settings, options: Options) -> MemoryEstimate:
    """A trace without what the libraries have to say: nothing in it is computed, and nothing is wrong with it."""
    environment.prepare()
    with environment.quiet_libraries(Path(os.devnull)):
        return trace(fields, settings, options)


def _matrices(base: Any) -> tuple[tuple[Matrix, ...], frozenset[str]]:
    """The linear modules of the layers, and those that get no adapter by default: routers, and beside fused experts all
    but those of attention."""
    import torch

    layers = depth.layers_of(base)
    fused = any(parameter.dim() == 3 and "expert" in name for name, parameter in layers.named_parameters())
    found: Counter[tuple[str, int, int, bool]] = Counter()
    adapted = set()
    for path, module in layers.named_modules():
        if isinstance(module, torch.nn.Linear):
            name = path.rpartition(".")[2]
            found[name, module.in_features, module.out_features, module.bias is not None] += 1
            if "attn" in path or "attention" in path if fused else name not in _ROUTERS:
                adapted.add(name)
    matrices = tuple(
        Matrix(name, fan_in, fan_out, count, bias) for (name, fan_in, fan_out, bias), count in found.items()
    )
    return matrices, frozenset(matrix.name for matrix in matrices) - adapted
