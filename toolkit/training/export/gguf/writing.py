"""A merged checkpoint as one GGUF file, one tensor in memory at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.release.facts import Facts
from toolkit.release.form import Form
from toolkit.training.export.gguf.families import add_architecture, read_config, rope_factors
from toolkit.training.export.gguf.tensors import Checkpoint, Names, Piece, pieces
from toolkit.training.export.gguf.vocabulary import add_vocabulary

if TYPE_CHECKING:
    from numpy import ndarray

_FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}  # llama.cpp's numbers for a whole file
_IN_FLOAT32 = ("ffn_gate_inp", "exp_probs_b", "rope_freqs")  # llama.cpp wants the router exact


def write_gguf(merged: Path, folder: Path, facts: Facts, form: Form, tokenizer: Any, stops: tuple[int, ...]) -> Path:
    """Write the checkpoint in `merged` to a GGUF file in `folder`; gives its path.

    Raises TkError when llama.cpp has no place for a tensor or does not split text as the tokenizer does.
    """
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quant_shape_to_byte_shape, quantize
    from numpy import dtype as numpy_dtype
    from numpy import prod

    config = read_config(merged)
    names = Names(config)
    checkpoint = Checkpoint(merged)
    assert form.quantization is not None
    path = folder / f"{_slug(facts.name)}-{form.quantization.upper()}.gguf"
    writer = GGUFWriter(path, names.family.arch)
    _add_papers(writer, facts, form)
    add_architecture(writer, config)
    add_vocabulary(writer, tokenizer, stops, int(config["vocab_size"]))
    todo = [*_factors(config), *pieces(checkpoint, names)]
    kinds = [GGMLQuantizationType[_kind(piece, form.quantization)] for piece in todo]
    for piece, kind in zip(todo, kinds, strict=True):
        if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
            item = numpy_dtype("float32" if kind == GGMLQuantizationType.F32 else "float16")
            writer.add_tensor_info(
                piece.name, piece.shape, item, int(prod(piece.shape)) * item.itemsize, raw_dtype=kind
            )
        else:
            shape = quant_shape_to_byte_shape(piece.shape, kind)
            writer.add_tensor_info(piece.name, shape, numpy_dtype("uint8"), int(prod(shape)), raw_dtype=kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for piece, kind in zip(todo, kinds, strict=True):
            values: ndarray[Any, Any] = piece.load().contiguous().numpy()
            writer.write_tensor_data(quantize(values, kind))
    finally:
        writer.close()
    return path


def _kind(piece: Piece, quantization: str) -> str:
    """The format of one tensor: vectors and routers in float32; rows that do not divide into blocks in 16 bits."""
    if len(piece.shape) == 1 or any(part in piece.name for part in _IN_FLOAT32):
        return "F32"
    blocks = quantization in ("q8_0", "q4_0")
    if blocks and piece.shape[-1] % 32:
        return "F16"
    # Embedding and head in 4 bits cost far more quality than they save.
    if quantization == "q4_0" and piece.name.split(".")[0] in ("token_embd", "output"):
        return "Q8_0"
    return quantization.upper()


def _factors(config: dict[str, Any]) -> Iterable[Piece]:
    factors = rope_factors(config)
    if factors is not None:
        import torch

        yield Piece("rope_freqs.weight", (len(factors),), lambda: torch.tensor(factors, dtype=torch.float32))


def _add_papers(writer: Any, facts: Facts, form: Form) -> None:
    """Name, licence, base and data in the keys that registries and deployers read."""
    terms = facts.terms
    writer.add_type("model")
    writer.add_name(facts.name)
    writer.add_description(form.named(facts.adapter_type, facts.base.name))
    writer.add_license(terms.hub_key if terms.hub_key != "other" else facts.declared)
    writer.add_license_name(terms.name)
    if terms.url:
        writer.add_license_link(terms.url)
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, facts.base.name.rpartition("/")[2])
    if facts.base.is_hub:
        writer.add_base_model_organization(0, facts.base.name.partition("/")[0])
        writer.add_base_model_repo_url(0, f"https://huggingface.co/{facts.base.name}")
    if facts.base.revision:
        writer.add_base_model_version(0, facts.base.revision)
    hubs = [data for data in facts.data if data.is_hub]
    if hubs:
        writer.add_dataset_count(len(hubs))
    for index, data in enumerate(hubs):
        writer.add_dataset_name(index, data.name)
        writer.add_dataset_repo_url(index, f"https://huggingface.co/datasets/{data.name}")
    from gguf import GGML_QUANT_VERSION

    assert form.quantization is not None
    writer.add_file_type(_FILE_TYPES[form.quantization])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_string("tk.run", str(facts.record["id"]))
    writer.add_string("tk.run_sha256", facts.record_sha256)
    writer.add_string("tk.base_sha256", facts.base.digest)


def _slug(name: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    if not slug:
        raise TkError(f"{name!r} makes no file name", hint="name the model in the recipe: use.release.name")
    return slug
