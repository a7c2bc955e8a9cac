"""4-bit products of routed experts against plain calculations: values, gradients, tiles, and what stays in memory."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("bitsandbytes")
pytest.importorskip("transformers")

from toolkit.training import experts  # noqa: E402
from toolkit.training.expert_weights import quantise  # noqa: E402

# Half of the widest gap between neighbours among NF4's sixteen values, -1 and -0.696; scales are 8-bit themselves.
NF4_ERROR, SCALE_ERROR = 0.152, 1 / 127


def configured(dtype: Any = torch.float32) -> Any:
    from toolkit.training.base import four_bit

    return four_bit(str(dtype).removeprefix("torch."))


class Layer(torch.nn.Module):  # type: ignore[misc]
    """What `experts_forward` needs of an experts module of transformers."""

    def __init__(self, count: int, hidden: int, width: int) -> None:
        super().__init__()
        self.num_experts, self.has_gate = count, True
        self.gate_up_proj = torch.nn.Parameter(torch.randn(count, 2 * width, hidden), requires_grad=False)
        self.down_proj = torch.nn.Parameter(torch.randn(count, hidden, width), requires_grad=False)

    def _apply_gate(self, product: Any) -> Any:
        gate, up = product.chunk(2, dim=-1)
        return torch.nn.functional.silu(gate) * up


def quantised(layer: Layer) -> Layer:
    """The same layer in 4 bits."""
    other = Layer(layer.num_experts, layer.down_proj.shape[1], layer.down_proj.shape[2])
    for name in experts.FUSED:
        setattr(other, name, quantise(getattr(layer, name).data.clone(), configured()))
    return other


def dequantised(layer: Layer) -> Layer:
    """The layer with plain weights of the values that the 4 bits stand for."""
    other = Layer(layer.num_experts, 8, 8)
    for name in experts.FUSED:
        setattr(other, name, torch.nn.Parameter(experts.dequantised(getattr(layer, name)), requires_grad=False))
    return other


def written_out(layer: Layer, hidden: Any, chosen: Any, weights: Any) -> Any:
    """One token and one expert at a time."""
    rows = []
    for token, numbers, shares in zip(hidden, chosen, weights, strict=True):
        parts = [
            share * (layer._apply_gate(token @ layer.gate_up_proj[number].T) @ layer.down_proj[number].T)
            for number, share in zip(numbers, shares, strict=True)
        ]
        rows.append(sum(parts))
    return torch.stack(rows)


@pytest.fixture
def routed() -> SimpleNamespace:
    """Seven experts of which two get no token; the 20 x 40 values of one end in the middle of a block of 64."""
    torch.manual_seed(4)
    layer = Layer(7, 40, 20)
    hidden = torch.randn(30, 40)
    chosen = torch.stack([torch.randperm(5)[:3] for _ in range(30)])  # experts 5 and 6 are never chosen
    return SimpleNamespace(layer=layer, hidden=hidden, chosen=chosen, weights=torch.rand(30, 3))


@pytest.mark.parametrize(
    "tile", [1, 3 * 4 * 40 * 40, 2**28], ids=["smallest tiles", "tiles of some experts", "one tile"]
)
def test_experts_in_4_bits_compute_what_their_values_say(
    routed: SimpleNamespace, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experts, "DEQUANTISED_EXPERT_BYTES", tile)
    layer = quantised(routed.layer)
    hidden, plain = (routed.hidden.clone().requires_grad_() for _ in range(2))
    shares, plain_shares = (routed.weights.clone().requires_grad_() for _ in range(2))
    ours = experts.experts_forward(layer, hidden, routed.chosen, shares)
    theirs = written_out(dequantised(layer), plain, routed.chosen, plain_shares)
    assert torch.allclose(ours, theirs, atol=1e-3, rtol=1e-5)
    upstream = torch.randn_like(ours)
    (ours * upstream).sum().backward()
    (theirs * upstream).sum().backward()
    assert torch.allclose(hidden.grad, plain.grad, atol=1e-2, rtol=1e-4)
    assert torch.allclose(shares.grad, plain_shares.grad, atol=1e-2, rtol=1e-4)


def test_a_product_in_4_bits_is_as_near_as_nf4_can_be(routed: SimpleNamespace) -> None:
    weight = routed.layer.gate_up_proj
    packed = quantise(weight.data.clone(), configured())
    blocks = weight.reshape(-1, 64).abs().amax(dim=1)
    error = (NF4_ERROR + SCALE_ERROR) * blocks + SCALE_ERROR * blocks.max()
    bound = error.repeat_interleave(64).reshape(weight.shape)
    lost = (experts.dequantised(packed) - weight).abs()
    assert bool((lost <= bound).all())
    assert float(lost.mean()) > 0.01  # it is quantised at all
    ends = torch.tensor([4, 4, 10, 11, 20, 25, 30], dtype=torch.int32)
    near, exact = (
        experts._product(SimpleNamespace(gate_up_proj=value), "gate_up_proj", routed.hidden, ends, ends.tolist())
        for value in (packed, weight)
    )
    owner = torch.searchsorted(ends.long(), torch.arange(30), right=True)
    allowed = torch.einsum("ri,roi->ro", routed.hidden.abs(), bound[owner])
    assert bool(((near - exact).abs() <= allowed + 1e-4).all())


@pytest.mark.parametrize("in_4_bits", [False, True])
@pytest.mark.parametrize("rank", [3, 8])
def test_an_update_beside_the_product_is_the_update_of_the_weight(
    routed: SimpleNamespace, rank: int, in_4_bits: bool
) -> None:
    layer = quantised(routed.layer) if in_4_bits else routed.layer
    lower, upper = torch.randn(7, rank, 40, requires_grad=True), torch.randn(7, 40, rank, requires_grad=True)
    with experts.updated(layer, "gate_up_proj", (lower, upper, 0.5)):
        ours = experts.experts_forward(layer, routed.hidden, routed.chosen, routed.weights)
    ours.square().sum().backward()
    gradients = lower.grad.clone(), upper.grad.clone()
    lower.grad = upper.grad = None
    whole = dequantised(layer) if in_4_bits else layer
    merged = Layer(7, 40, 20)
    merged.down_proj = whole.down_proj
    del merged.gate_up_proj
    merged.gate_up_proj = whole.gate_up_proj + 0.5 * upper @ lower
    theirs = written_out(merged, routed.hidden, routed.chosen, routed.weights)
    theirs.square().sum().backward()
    assert torch.allclose(ours, theirs, atol=1e-2, rtol=1e-4)
    for gradient, factor in zip(gradients, (lower, upper), strict=True):
        assert torch.allclose(gradient, factor.grad, atol=1.0, rtol=1e-3)
        assert float(gradient[5:].abs().max()) == 0  # no token, no gradient
    without = experts.experts_forward(layer, routed.hidden, routed.chosen, routed.weights)
    assert torch.allclose(without, written_out(whole, routed.hidden, routed.chosen, routed.weights), atol=1e-3)


def test_experts_stored_for_bfloat16_multiply_in_it(routed: SimpleNamespace) -> None:
    layer = Layer(7, 40, 24)  # grouped products want rows of 16 bytes
    exact, half = quantised(layer), quantised(layer)
    for name in experts.FUSED:
        getattr(half, name).quant_state.dtype = torch.bfloat16
    hidden = routed.hidden.clone().requires_grad_()
    near = experts.experts_forward(half, hidden, routed.chosen, routed.weights)
    far = experts.experts_forward(exact, routed.hidden, routed.chosen, routed.weights)
    near.sum().backward()
    assert near.dtype == hidden.grad.dtype == torch.float32
    assert not torch.equal(near, far)
    assert float(((near - far).norm() / far.norm()).detach()) < 0.01


def test_a_fused_parameter_takes_half_a_byte_a_weight_and_its_scales() -> None:
    packed = quantise(torch.randn(4, 128, 64), configured())
    weights = 4 * 128 * 64
    assert packed.dtype == torch.uint8
    assert packed.numel() == weights // 2
    assert packed.quant_state.absmax.dtype == torch.uint8
    assert packed.quant_state.absmax.numel() == weights // 64
    assert packed.quant_state.state2.absmax.numel() == math.ceil(weights / 64 / 256)
    assert experts.shape_of(packed) == (4, 128, 64)


def test_experts_of_another_layout_are_left_alone() -> None:
    layer = Layer(2, 8, 8)
    assert experts.is_fused(layer)
    layer.is_transposed = True  # as gpt-oss has them
    assert not experts.is_fused(layer)
    assert not experts.is_fused(torch.nn.Linear(2, 2))


@pytest.mark.gpu
def test_on_a_gpu_experts_compute_the_same_and_leave_no_dequantised_copy() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    torch.manual_seed(4)
    layer = Layer(16, 512, 1024)
    hidden, weights = torch.randn(64, 512), torch.rand(64, 4)
    chosen = torch.stack([torch.randperm(16)[:4] for _ in range(64)])
    expected = experts.experts_forward(quantised(layer), hidden, chosen, weights)
    other = Layer(16, 8, 8)
    for name in experts.FUSED:
        setattr(other, name, quantise(getattr(layer, name).data.to("cuda", torch.bfloat16), configured(torch.bfloat16)))
    rows = hidden.to("cuda", torch.bfloat16).requires_grad_()
    before = torch.cuda.memory_allocated()
    found = experts.experts_forward(other, rows, chosen.cuda(), weights.cuda())
    kept = torch.cuda.memory_allocated() - before
    assert float((found.cpu() - expected).norm() / expected.norm()) < 0.02
    assert kept < 2 * layer.down_proj.numel()  # bytes of the smaller dequantised stack
    found.float().sum().backward()
    assert bool(rows.grad.isfinite().all())
