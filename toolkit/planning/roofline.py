"""How long a step takes, predicted: arithmetic and traffic of the step over what a device can do of each.

A prediction ranks the ways to run and gives an idea of a run's length; it is marked as an estimate wherever it is
shown. Matrix products take the longer of their arithmetic and of reading their weights; everything between them is
bound by memory; and no step is shorter than its launches take, or than the weights take to arrive where they are
sharded. Published LoRA runs on H100 and A100 reach between 16 and 51 % of the rate, so that a run may well take twice
or half as long as predicted.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection
from dataclasses import dataclass

from toolkit.planning.activations import Setting, layer_bytes
from toolkit.planning.architecture import Shape
from toolkit.planning.gpu import GIB, Device, cards
from toolkit.planning.memory import ELEMENT_BYTES, weight_bytes

RATE_SHARE = 0.40  # of the dense 16-bit rate, in matrix products; NeMo's published LoRA runs on H100 reach 0.41 to 0.43
BANDWIDTH_SHARE = 0.70  # of the memory's, and of a link's; assumed

# Operations that one decoder layer dispatches in a forward and backward pass under PEFT (counted; the second with
# recomputation), and what the host needs for one of them. The host's time is an assumption.
LAYER_OPERATIONS, LAYER_OPERATIONS_RECOMPUTED = 450, 720
_LAUNCH_SECONDS = {"cpu": 12e-6}
_LAUNCH_SECONDS_ELSEWHERE = 5e-6

_NF4_BYTES = 0.52  # half a byte and the constants, read for each dequantised weight

_SLOW_LINK = 32e9  # one way through a PCIe 4.0 x16 slot: what is assumed where nothing is known


@dataclass(frozen=True, slots=True)
class Rates:
    """FLOP and bytes per second that a step gets, and in words what was assumed for them. A CPU `waits`: what it
    dispatches it computes before the next."""

    flops: float
    bandwidth: float
    link: float
    launch_seconds: float
    waits: bool
    assumed: str


@dataclass(frozen=True, slots=True)
class Step:
    """What one forward and backward pass of one device is made of. `tokens` x `length` as they are computed."""

    shape: Shape
    adapter: str
    rank: int
    targets: Collection[str]
    dtype: str
    checkpointing: bool
    tokens: float
    length: float
    masked: bool
    fused_head: bool

    @property
    def passes(self) -> int:
        """Times the frozen matrices are applied: forward, backward, and again where activations are recomputed."""
        return 3 if self.checkpointing else 2

    @property
    def active_weights(self) -> int:
        """Weights of the matrices that a token meets; of routed experts those that are active."""
        shape, experts = self.shape, self.shape.experts
        active = shape.fused_expert_parameters * experts.per_token // experts.count if experts else 0
        return shape.linear_parameters + active

    @property
    def flops(self) -> float:
        """Floating-point operations: 2 for a weight and a token in each pass; 6 for an adapter's, which needs its own
        gradient; attention 2 forwards and 5 backwards for each pair of positions and value of a head (half the pairs
        where the kernel may skip the future); the head thrice where its logits are formed again, else twice."""
        shape = self.shape
        matrices = 2 * self.passes * self.active_weights
        adapters = 6 * shape.active_adapter_parameters(self.rank, self.targets)
        if shape.latent is not None:
            width = shape.heads * (shape.latent.qk_nope + shape.latent.qk_rope + shape.latent.v) / 2
        else:
            width = shape.query_width
        reach = min(self.length, shape.sliding_window or self.length)
        pairs = reach if self.masked else reach / 2
        attention = shape.layers * width * pairs * 2 * (2 + 5 + 2 * (self.passes - 2))
        head = (6 if self.fused_head else 4) * shape.vocab * shape.hidden
        return self.tokens * (matrices + adapters + attention + head)

    @property
    def weight_traffic(self) -> float:
        """Bytes of weights that matrix products read, all passes together, in the format they compute in."""
        return self.passes * ELEMENT_BYTES[self.dtype] * (self.shape.parameters - self.shape.embedding_parameters)

    @property
    def other_traffic(self) -> float:
        """Bytes between the products: what a layer keeps is written and read in every pass, and a 4-bit matrix read
        and written out in 16 bits before each."""
        shape, element = self.shape, ELEMENT_BYTES[self.dtype]
        setting = Setting(
            targets=self.targets,
            rank=self.rank,
            tokens=1,
            length=int(self.length),
            element_bytes=element,
            own_copies=element != 4,
            dropout_mask_bytes=0,
            masked=self.masked,
            exact_math=False,
        )
        dense, sparse = (layer_bytes(shape, setting, sparse=flag).kept for flag in (False, True))
        kept = dense * shape.dense_layers + sparse * (shape.layers - shape.dense_layers)
        quantised = shape.linear_parameters + (shape.fused_expert_parameters if shape.quantization is None else 0)
        if self.adapter == "lora-8bit":
            quantised = shape.linear_parameters
        read = {"qlora": _NF4_BYTES, "lora-8bit": 1.0}.get(self.adapter)
        dequantised = quantised * (read + element) if read is not None else 0.0
        return self.passes * (2 * kept * self.tokens + dequantised)

    def seconds(self, rates: Rates) -> float:
        """Predicted time of the forward and backward pass on one device."""
        products = max(self.flops / rates.flops, self.weight_traffic / rates.bandwidth)
        operations = LAYER_OPERATIONS_RECOMPUTED if self.checkpointing else LAYER_OPERATIONS
        computing = products + self.other_traffic / rates.bandwidth
        launching = operations * self.shape.layers * rates.launch_seconds
        return computing + launching if rates.waits else max(computing, launching)


def gather_seconds(shape: Shape, adapter: str, dtype: str, devices: int, rates: Rates) -> float:
    """Time in which sharded weights reach every device twice, for the forward and for the backward pass."""
    return 2 * weight_bytes(shape, adapter, dtype)[0] * (devices - 1) / devices / rates.link


def reduce_seconds(gradient_bytes: int, devices: int, rates: Rates) -> float:
    """Time of a ring all-reduce of the adapter's gradients, once per optimiser step."""
    return 2 * gradient_bytes * (devices - 1) / devices / rates.link


def rates_of(device: Device) -> Rates | None:
    """What steps get of a device; None for a CPU of which nothing is known.

    A GPU that is known by its memory alone is taken for the median of the table's cards of that size.
    """
    tflops, bandwidth, link = device.tflops, device.bandwidth_bytes, device.link_bytes
    assumed = f"{RATE_SHARE:.0%} of {device.name}'s rate and {BANDWIDTH_SHARE:.0%} of its bandwidth are reached"
    if tflops is None or bandwidth is None:
        if device.kind == "cpu":
            return None
        near = sorted(
            (card for card in cards() if card.kind == "cuda" and card.bf16 == device.bf16),
            key=lambda card: abs(card.memory_gib * GIB - device.total_bytes),
        )[:5]
        tflops = statistics.median(card.bf16_tflops for card in near)
        bandwidth = statistics.median(card.bandwidth_gb_s for card in near) * 1e9
        assumed = (
            f"it has {tflops:g} TFLOPS and {bandwidth / 1e9:g} GB/s, the median of five cards of about its memory, of "
            f"which {RATE_SHARE:.0%} and {BANDWIDTH_SHARE:.0%} are reached"
        )
    # A CPU's rate is a measured one of matrix products already.
    share = 1.0 if device.kind == "cpu" else RATE_SHARE
    if device.kind == "cpu":
        assumed = f"{tflops * 1000:g} GFLOP/s in float32, 50 for each thread"
    return Rates(
        flops=tflops * 1e12 * share,
        bandwidth=bandwidth * BANDWIDTH_SHARE,
        link=(link or _SLOW_LINK) * BANDWIDTH_SHARE,
        waits=device.kind == "cpu",
        launch_seconds=_LAUNCH_SECONDS.get(device.kind, _LAUNCH_SECONDS_ELSEWHERE),
        assumed=assumed,
    )
