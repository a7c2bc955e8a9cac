"""The layers of a model: which are alike, what marks them in a trace, and full depth from two short traces.

A moment of a step holds so many bytes per layer before and after it, so at every moment memory is linear in the number
of equal layers. Two traces that differ by one such layer therefore give each moment's size at any depth, exactly; the
peak is the largest of them, wherever it falls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError

if TYPE_CHECKING:
    from toolkit.training.tracing.ledger import Ledger

OPTIMISER_STEP = "optimiser step"

Sections = dict[str, list[tuple[int, ...]]]


def layers_of(model: Any) -> Any:
    """The list of decoder layers: the module list as long as the configuration says."""
    import torch

    count = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise TkError(f"{model.config.model_type} has no list of {count} layers", hint="the tracer follows decoder layers")


def layers_in(model: Any) -> tuple[int, int]:
    """How many layers there are, and how many stand before the run of equal ones that reaches the end."""
    kinds = [_kind(layer, model.config.get_text_config(), index) for index, layer in enumerate(layers_of(model))]
    leading = len(kinds)
    while leading and kinds[leading - 1] == kinds[-1]:
        leading -= 1
    return len(kinds), leading


def _kind(layer: Any, config: Any, index: int) -> tuple[object, ...]:
    """What tells two layers apart: their modules and the shapes of their parameters, and the kind the configuration
    names (sliding or full attention)."""
    named = getattr(config, "layer_types", None)
    modules = tuple(type(module).__name__ for module in layer.modules())
    shapes = tuple((name, tuple(parameter.shape)) for name, parameter in layer.named_parameters())
    return (named[index] if named else None, modules, shapes)


def mark_layers(model: Any, ledger: Ledger) -> list[Any]:
    """Begin a section of the ledger where a layer's forward or backward pass begins, and one where the loss does.

    Sections are named from both ends, so that those of a deeper model bear the same names. Gives the hooks' handles.
    """
    layers = layers_of(model)
    count = len(layers)
    handles = []
    for index, layer in enumerate(layers):
        # The last is named so at any depth; so are those before it, from the front.
        name = "the last layer" if index == count - 1 else f"layer {index + 1}"

        def begin(module: Any, args: Any, kwargs: Any, name: str = name) -> None:
            ledger.enter(f"forward of {name}")

        def end(module: Any, args: Any, output: Any, name: str = name, last: bool = index == count - 1) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            if hidden.requires_grad:
                hidden.register_hook(lambda gradient: ledger.enter(f"backward of {name}"))
            if last:
                ledger.enter("loss and head")

        handles.append(layer.register_forward_pre_hook(begin, with_kwargs=True))
        handles.append(layer.register_forward_hook(end))
    return handles


def at_depth(short: Sections, longer: Sections, more: int) -> Sections:
    """Every moment of `short` in a model that has `more` layers than it, where `longer` has one.

    The layer that only `longer` has lies between the others in every respect and holds no peak of its own. Raises
    TkError where the traces are not of one course.
    """
    found: Sections = {}
    for name, moments in short.items():
        others = longer.get(name, [])
        if name == OPTIMISER_STEP:  # goes through the parameters one by one, so only its widest moments correspond
            moments, others = [max(moments, key=sum)], [max(others, key=sum)]
        if len(others) != len(moments):
            raise TkError(f"the layers differ in {name}", hint="trace the model at its full depth")
        found[name] = [
            tuple(low + more * (high - low) for low, high in zip(first, second, strict=True))
            for first, second in zip(moments, others, strict=True)
        ]
    return found
