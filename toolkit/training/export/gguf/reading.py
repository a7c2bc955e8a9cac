"""The weights as a GGUF file holds them, put back into a model of transformers, so that the file itself can be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.training.export.gguf.families import read_config
from toolkit.training.export.gguf.tensors import Names, parameter


def take_weights(model: Any, path: Path, merged: Path) -> None:
    """Give `model`, loaded from the checkpoint in `merged`, the weights of the GGUF at `path`, quantisation and all.

    Raises TkError when the file lacks one, or has it in another shape: then it is not the model.
    """
    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize

    tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    names = Names(read_config(merged))

    def stored(name: str) -> Any:
        if name not in tensors:
            raise TkError(f"the GGUF lacks {name}", where=str(path))
        values = dequantize(tensors[name].data, tensors[name].tensor_type)
        return torch.from_numpy(values.astype("float32"))

    kept = dict(model.named_parameters())
    kept |= {name: value for name, value in model.named_buffers() if name.endswith("e_score_correction_bias")}
    for name, held in kept.items():
        value = parameter(name, names, stored)
        if value.shape != held.shape:
            raise TkError(f"the GGUF has {name} as {tuple(value.shape)}, not {tuple(held.shape)}", where=str(path))
        held.data = value.to(device=held.device, dtype=held.dtype)
