"""How the matrices of a checkpoint become GGUF's, and back: names, order of rows, fused experts, split projections."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.training.export.gguf.families import FAMILIES

if TYPE_CHECKING:
    from torch import Tensor

_EXPERT = re.compile(r"(.*\.mlp\.experts)\.(\d+)\.(gate_proj|up_proj|down_proj)\.weight\Z")
_FUSED = re.compile(r"(.*\.mlp\.experts)\.(gate_up_proj|down_proj)\Z")
_LATENT = ".self_attn.kv_b_proj.weight"
_BIAS_OF_ROUTER = ".mlp.gate.e_score_correction_bias"


@dataclass(frozen=True, slots=True)
class Piece:
    """One tensor of the GGUF: its name and shape, and what makes it from the checkpoint, in float32."""

    name: str
    shape: tuple[int, ...]
    load: Callable[[], Tensor]


class Checkpoint:
    """The safetensors files of a folder as one mapping of names to tensors, read one at a time."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self._files: list[Any] = [safe_open(path, "pt") for path in sorted(folder.glob("*.safetensors"))]
        self._of = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118  # not a dict

    def names(self) -> list[str]:
        return sorted(self._of)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._of[name].get_slice(name).get_shape())

    def tensor(self, name: str) -> Tensor:
        """In float32."""
        return self._of[name].get_tensor(name).float()


class Names:
    """GGUF's names for the tensors of one configuration."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

        self.config = config
        self.family = FAMILIES[str(config["model_type"])]
        arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == self.family.arch)
        self._map = get_tensor_name_map(arch, int(config["num_hidden_layers"]))

    def of(self, name: str) -> str:
        """Raises TkError for a tensor that the architecture does not have in GGUF."""
        if name.endswith(_BIAS_OF_ROUTER):
            return self.of(name.removesuffix(".e_score_correction_bias") + ".e_score_correction") + ".bias"
        found = self._map.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise TkError(f"GGUF has no place for the tensor {name} of this architecture")
        return str(found)

    def latent(self, name: str) -> tuple[str, str]:
        """Names of the two matrices that a compressed projection is split into: keys and values."""
        return self.of(name.replace("kv_b_proj", "k_b_proj")), self.of(name.replace("kv_b_proj", "v_b_proj"))

    def permuted(self, name: str) -> int:
        """The number of heads whose rows change places in a matrix; 0 where they stay."""
        if not self.family.permuted:
            return 0
        heads = int(self.config["num_attention_heads"])
        counts = {"q_proj": heads, "k_proj": int(self.config.get("num_key_value_heads") or heads)}
        return counts.get(name.split(".")[-2], 0)


def pieces(checkpoint: Checkpoint, names: Names) -> Iterator[Piece]:
    """The tensors of the GGUF that holds a checkpoint."""
    experts: dict[tuple[str, str], list[str]] = {}
    for name in checkpoint.names():
        if match := _EXPERT.match(name):
            experts.setdefault((match[1], match[3]), []).append(name)
        elif name.endswith(_LATENT):
            yield from _latent_pieces(checkpoint, names, name)
        else:
            heads = names.permuted(name)
            load = _loader(lambda name, heads: _interleave(checkpoint.tensor(name), heads), name, heads)
            yield Piece(names.of(name), checkpoint.shape(name), load)
    for (place, kind), members in experts.items():
        members.sort(key=lambda name: int(_EXPERT.match(name)[2]))  # type: ignore[index]  # it matched above
        shape = (len(members), *checkpoint.shape(members[0]))
        load = _loader(_stacked, checkpoint, members)
        yield Piece(names.of(f"{place}.{kind}.weight"), shape, load)


def parameter(name: str, names: Names, stored: Callable[[str], Tensor]) -> Tensor:
    """What the parameter `name` of the loaded model is by the GGUF, of which `stored` gives a tensor in float32."""
    import torch

    if match := _FUSED.match(name):
        if match[2] == "down_proj":
            return stored(names.of(f"{match[1]}.down_proj.weight"))
        return torch.cat([stored(names.of(f"{match[1]}.{part}.weight")) for part in ("gate_proj", "up_proj")], dim=1)
    if name.endswith(_LATENT):
        keys, values = (stored(part) for part in names.latent(name))
        return torch.cat([keys.transpose(1, 2), values], dim=1).flatten(0, 1)
    return _halves(stored(names.of(name)), names.permuted(name))


def _latent_pieces(checkpoint: Checkpoint, names: Names, name: str) -> Iterator[Piece]:
    """Keys (heads, compressed, width) transposed, as llama.cpp multiplies queries with them, and values."""
    config = names.config
    heads, keys, values = (int(config[key]) for key in ("num_attention_heads", "qk_nope_head_dim", "v_head_dim"))
    compressed = checkpoint.shape(name)[1]

    def whole() -> Tensor:
        return checkpoint.tensor(name).view(heads, keys + values, compressed)

    first, second = names.latent(name)
    yield Piece(first, (heads, compressed, keys), lambda: whole()[:, :keys].transpose(1, 2).contiguous())
    yield Piece(second, (heads, values, compressed), lambda: whole()[:, keys:].contiguous())


def _loader(function: Callable[..., Tensor], *arguments: Any) -> Callable[[], Tensor]:
    return lambda: function(*arguments)


def _stacked(checkpoint: Checkpoint, members: list[str]) -> Tensor:
    import torch

    return torch.stack([checkpoint.tensor(name) for name in members])


def _interleave(matrix: Tensor, heads: int) -> Tensor:
    """Rows of each head from two halves to pairs of neighbours, (out, in) or (out,)."""
    if not heads:
        return matrix
    return matrix.view(heads, 2, -1, *matrix.shape[1:]).transpose(1, 2).reshape(matrix.shape)


def _halves(matrix: Tensor, heads: int) -> Tensor:
    """The way back."""
    if not heads:
        return matrix
    return matrix.view(heads, -1, 2, *matrix.shape[1:]).transpose(1, 2).reshape(matrix.shape)
