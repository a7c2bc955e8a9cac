"""The sharded form against torch's own `fully_shard`, on a process group that only pretends to have neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from toolkit.planning.bases import known_shape
from toolkit.planning.memory import estimate
from toolkit.planning.shape import read_shape
from toolkit.planning.sharding import gathered_bytes, on_several

CONFIG = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
    "tie_word_embeddings": False,
    "max_position_embeddings": 128,
}
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK, BATCH, LENGTH, DEVICES = 8, 2, 64, 4


@pytest.fixture
def neighbours() -> Iterator[object]:
    """A device mesh of four, of which this process is the first and the others are pretended."""
    torch = pytest.importorskip("torch")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=DEVICES)
    yield init_device_mesh("cpu", (DEVICES,))
    torch.distributed.destroy_process_group()


def allocated(mesh: object, checkpointing: bool) -> int:
    """Most bytes of a step of the sharded model: parameters, optimiser states and the allocator's events."""
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    from torch.distributed.fsdp import fully_shard
    from torch.profiler import ProfilerActivity, profile

    config = transformers.AutoConfig.for_model(**CONFIG)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model = peft.get_peft_model(model, peft.LoraConfig(r=RANK, target_modules=list(TARGETS), task_type="CAUSAL_LM"))
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    for layer in model.base_model.model.model.layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, foreach=False)
    tokens = torch.randint(0, 100, (BATCH, LENGTH))

    def step() -> None:
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    local = sum(parameter.to_local().numel() * 4 for parameter in model.parameters())
    return highest + local + sum(parameter.to_local().numel() * 8 for parameter in trained)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_the_sharded_form_is_what_fully_shard_allocates(neighbours: object, checkpointing: bool) -> None:
    measured = allocated(neighbours, checkpointing)
    shape = read_shape(CONFIG)
    alone = estimate(
        shape,
        adapter="lora",
        rank=RANK,
        targets=TARGETS,
        batch=BATCH,
        length=LENGTH,
        checkpointing=checkpointing,
        dtype="float32",
        loss="logits",
        optimizer="adamw_torch_fused",
        device_kind="cpu",
    )
    inputs = 4 * shape.layers * shape.hidden * BATCH * LENGTH
    form = on_several(
        alone,
        shape,
        "fsdp2",
        DEVICES,
        adapter="lora",
        dtype="float32",
        kept_bytes=inputs if checkpointing else None,
    )
    assert form.peak_bytes == pytest.approx(measured, rel=0.015)
    assert sum(form.parts.values()) == form.peak_bytes


def test_two_copies_cost_a_bucket_of_gradients_and_nothing_else() -> None:
    shape = read_shape(CONFIG)
    alone = estimate(
        shape, adapter="lora", rank=8, targets=TARGETS, batch=1, length=64, checkpointing=True, dtype="bfloat16"
    )
    form = on_several(alone, shape, "ddp", 2, adapter="lora", dtype="bfloat16", kept_bytes=None)
    assert form.peak_bytes - alone.peak_bytes == 4 * shape.adapter_parameters(8, TARGETS)


def test_the_largest_layer_of_a_mixture_is_a_sparse_one() -> None:
    shape = known_shape("deepseek-ai/DeepSeek-V3")
    assert shape is not None
    outside, layer = gathered_bytes(shape, "lora", "bfloat16", 0)
    experts = 3 * 7168 * 2048 * 257
    attention = sum(matrix.weights for matrix in shape.matrices if matrix.count == 61) / 61
    assert outside == 2 * (2 * 129280 * 7168 + 7168)
    assert layer == pytest.approx(2 * (experts + attention), rel=0.01)
