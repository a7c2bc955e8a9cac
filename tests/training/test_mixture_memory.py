"""What a layer of a mixture keeps for the backward pass, counted in real forward passes: no dequantised expert is in it.

Counted are the storages that are alive after the pass and were not before it, for two depths; their difference is a layer.
"""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.planning import targets
from toolkit.planning.activations import Setting, layer_bytes
from toolkit.planning.shape import Shape, read_shape

torch = pytest.importorskip("torch")
pytest.importorskip("bitsandbytes")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_iter  # noqa: E402

BATCH, LENGTH, RANK = 2, 64, 8
COMMON = {
    "hidden_size": 256, "intermediate_size": 448, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 128,
    "num_experts_per_tok": 3, "moe_intermediate_size": 128, "max_position_embeddings": 256, "tie_word_embeddings": False,
}  # fmt: skip
LATENT = COMMON | {
    "n_routed_experts": 8, "n_shared_experts": 2, "first_k_dense_replace": 0, "q_lora_rank": None, "kv_lora_rank": 64,
    "qk_nope_head_dim": 64, "qk_rope_head_dim": 64, "v_head_dim": 64, "head_dim": 64, "n_group": 1, "topk_group": 1,
}  # fmt: skip
FIELDS = {"qwen3_moe": COMMON | {"num_experts": 8, "head_dim": 64}, "deepseek_v2": LATENT, "deepseek_v3": LATENT}


class Alive(TorchDispatchMode):  # type: ignore[misc]
    """Bytes of the storages that operations made and that are still there."""

    def __init__(self, there: list[Any]) -> None:
        super().__init__()
        self.sizes = {tensor.untyped_storage()._cdata: 0 for tensor in there}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.sizes:
                    self.sizes[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.sizes.pop, storage._cdata, None)
        return result


def kept_bytes(root: Path, model_type: str, layers: int, names: tuple[str, ...], quantise: bool) -> int:
    """Bytes alive after a forward pass."""
    from toolkit.training.adapters import add_adapter
    from toolkit.training.base import load_base

    folder = root / f"{model_type}-{layers}"
    if not folder.exists():
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(model_type, num_hidden_layers=layers, **FIELDS[model_type])
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    settings: Any = SimpleNamespace(
        targets=names,
        seed=1,
        rank=RANK,
        alpha=RANK,
        dropout=0.0,
        dora=False,
        rslora=False,
        init="default",
        new_tokens=(),
        lora_plus_ratio=None,
    )
    model = add_adapter(load_base(folder, dtype="float32", device="cpu", quantise=quantise), settings)
    model.enable_input_require_grads()
    model.train()
    tokens = torch.randint(0, 128, (BATCH, LENGTH))
    alive = Alive([*model.parameters(), *model.buffers(), tokens])
    with alive:
        hidden = model.base_model.model.model(input_ids=tokens, use_cache=False).last_hidden_state
    gc.collect()
    total = sum(alive.sizes.values())
    del hidden
    return total


def setting_of(shape: Shape, names: tuple[str, ...]) -> Setting:
    return Setting(
        targets=names,
        rank=RANK,
        tokens=BATCH * LENGTH,
        length=LENGTH,
        element_bytes=4,
        own_copies=False,
        dropout_mask_bytes=0,
        masked=False,
        exact_math=shape.latent is not None,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layers")


DEFAULT, EVERYTHING = ("all-linear",), ("all-linear", "experts")
CASES = [
    ("qwen3_moe", DEFAULT, True),
    ("qwen3_moe", EVERYTHING, True),
    ("qwen3_moe", EVERYTHING, False),
    ("deepseek_v2", DEFAULT, False),
    ("deepseek_v2", DEFAULT, True),
    ("deepseek_v2", EVERYTHING, True),
    ("deepseek_v3", EVERYTHING, True),
]


@pytest.mark.parametrize(("model_type", "asked", "quantise"), CASES)
def test_a_sparse_layer_keeps_what_its_form_says(
    model_type: str, asked: tuple[str, ...], quantise: bool, root: Path
) -> None:
    shape = read_shape({"model_type": model_type, "num_hidden_layers": 3, **FIELDS[model_type]})
    names = targets.resolve(shape, asked)
    three, two = (kept_bytes(root, model_type, layers, names, quantise) for layers in (3, 2))
    form = layer_bytes(shape, setting_of(shape, names), sparse=True).kept
    assert form == pytest.approx(three - two, rel=0.01)
