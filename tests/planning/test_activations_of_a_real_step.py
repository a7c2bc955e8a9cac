"""The forms of kept activations against real forward passes on a CPU: a count of the storages alive after them.

This is what notices that a new transformers or PEFT keeps something else for the backward pass.
"""

from __future__ import annotations

import contextlib
import gc
import weakref

import pytest

from toolkit.planning.activations import Setting, layer_bytes
from toolkit.planning.shape import read_shape

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

BATCH, LENGTH, RANK = 2, 128, 4
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ATTENTION = ALL[:4]
DENSE = {
    "hidden_size": 256,
    "intermediate_size": 832,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 96,
    "vocab_size": 128,
    "tie_word_embeddings": False,
    "max_position_embeddings": 256,
}
ROUTED = DENSE | {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 112}
LATENT = DENSE | {
    "num_key_value_heads": 4,
    "head_dim": 16,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_shared_experts": 2,
    "moe_intermediate_size": 112,
    "first_k_dense_replace": 0,
    "q_lora_rank": None,
    "kv_lora_rank": 80,
    "qk_nope_head_dim": 48,
    "qk_rope_head_dim": 16,
    "v_head_dim": 40,
}
LATENT_TARGETS = ("q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")
CASES = [
    ("llama", DENSE, ALL, True, 0.0),
    ("llama", DENSE, ATTENTION, True, 0.0),
    ("llama", DENSE, ("q_proj", "v_proj"), True, 0.0),
    ("llama", DENSE, ALL[4:], True, 0.0),
    ("llama", DENSE, ALL, False, 0.0),
    ("llama", DENSE, ATTENTION, False, 0.0),
    ("qwen3", DENSE, ALL, True, 0.0),
    ("qwen3", DENSE, ALL, False, 0.0),
    ("qwen3_moe", ROUTED, ATTENTION, True, 0.0),
    ("qwen3_moe", ROUTED, ATTENTION, False, 0.0),
    ("deepseek_v2", LATENT, LATENT_TARGETS, True, 0.0),
    ("deepseek_v2", LATENT, LATENT_TARGETS, False, 0.0),
    ("llama", DENSE, ALL, True, 0.05),
    ("llama", DENSE, ALL, False, 0.05),
]


def kept_bytes(
    model_type: str, fields: dict[str, object], targets: tuple[str, ...], half: bool, dropout: float, layers: int
) -> int:
    """Bytes alive after a forward pass that were not there before it."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_iter

    class Alive(TorchDispatchMode):
        def __init__(self, there: list[torch.Tensor]) -> None:
            super().__init__()
            self.sizes = {tensor.untyped_storage()._cdata: 0 for tensor in there}

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = function(*args, **(kwargs or {}))
            for tensor in tree_iter(result):
                if isinstance(tensor, torch.Tensor):
                    storage = tensor.untyped_storage()
                    if storage._cdata not in self.sizes:
                        self.sizes[storage._cdata] = storage.nbytes()
                        weakref.finalize(storage, self.sizes.pop, storage._cdata, None)
            return result

    config = transformers.AutoConfig.for_model(model_type, num_hidden_layers=layers, **fields)
    config._attn_implementation = "sdpa"
    if "num_experts_per_tok" in fields:
        config._experts_implementation = "grouped_mm"
    torch.manual_seed(0)
    dtype = torch.bfloat16 if half else torch.float32
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    settings = peft.LoraConfig(r=RANK, target_modules=list(targets), lora_dropout=dropout, task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, settings)
    model.enable_input_require_grads()
    model.train()
    tokens = torch.randint(0, 128, (BATCH, LENGTH))
    alive = Alive([*model.parameters(), *model.buffers(), tokens])
    with alive, torch.autocast("cpu", dtype=torch.bfloat16) if half else contextlib.nullcontext():
        hidden = model.base_model.model.model(input_ids=tokens, use_cache=False).last_hidden_state
    gc.collect()
    total = sum(alive.sizes.values())
    del hidden
    return total


@pytest.mark.parametrize(("model_type", "fields", "targets", "half", "dropout"), CASES)
def test_a_layer_keeps_what_its_form_says(
    model_type: str, fields: dict[str, object], targets: tuple[str, ...], half: bool, dropout: float
) -> None:
    shape = read_shape({"model_type": model_type, "num_hidden_layers": 3, **fields})
    setting = Setting(
        targets=targets,
        rank=RANK,
        tokens=BATCH * LENGTH,
        length=LENGTH,
        element_bytes=2 if half else 4,
        own_copies=half,
        dropout_mask_bytes=4 if dropout else 0,
        masked=False,
        exact_math=shape.latent is not None,
    )
    form = layer_bytes(shape, setting, sparse=shape.experts is not None).kept
    three, two = (kept_bytes(model_type, fields, targets, half, dropout, layers) for layers in (3, 2))
    per_layer = three - two
    if half:  # autocast's 16-bit copies of the adapter are counted elsewhere
        per_layer -= 2 * shape.adapter_parameters(RANK, targets) // 3
    assert form == pytest.approx(per_layer, rel=0.01)
