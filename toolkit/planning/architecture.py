"""What a base model is made of: its matrices and how many parameters each holds.

Counts follow the transformers 5 classes of the families named in `toolkit.planning.shape`; for those they equal the
number of parameters of the instantiated model. Buffers (rotary tables, expert correction biases) are not parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts: `count` routed experts of width `intermediate`, `per_token` of them active.

    `shared` experts always run (as one MLP of their joint width); `dense_layers` layers have a plain MLP instead.
    """

    count: int
    per_token: int
    shared: int
    intermediate: int
    dense_layers: int


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention (DeepSeek V2 and V3): ranks of the compressed query, key and value, head widths."""

    q_rank: int | None
    kv_rank: int
    qk_nope: int
    qk_rope: int
    v: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """One kind of matrix: the end of its path, its width in and out, how many there are, whether with bias.

    The end is the module's own name, and on a mixture of experts the name of what holds it too (`mlp.up_proj`,
    `shared_experts.up_proj`, `experts.down_proj`), since one name stands for three things there.
    """

    name: str
    fan_in: int
    fan_out: int
    count: int
    bias: bool = False

    @property
    def weights(self) -> int:
        return self.fan_in * self.fan_out * self.count


@dataclass(frozen=True, slots=True)
class Shape:
    """A base model's dimensions. `sliding_window`, `experts` and `latent` are None where the model has none.

    `quantization` is the method under which the weights are stored (`fp8`, `gptq`, `bitsandbytes` …), None for plain
    floating point.
    """

    model_type: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    attention_bias: bool
    qk_norm: bool
    max_positions: int
    sliding_window: int | None = None
    experts: Experts | None = None
    latent: Latent | None = None
    output_bias: bool = False
    mlp_bias: bool = False
    quantization: str | None = None

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Width of all key (or value) heads together."""
        return self.kv_heads * self.head_dim

    @property
    def dense_layers(self) -> int:
        """Layers with a plain MLP."""
        return self.layers if self.experts is None else self.experts.dense_layers

    @property
    def sparse_layers(self) -> int:
        """Layers with a mixture of experts."""
        return self.layers - self.dense_layers

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """Every `nn.Linear` inside the layers; language-model head, routers and routed experts are not among them."""
        return (*self._attention_matrices(), *self._mlp_matrices())

    def _attention_matrices(self) -> tuple[Matrix, ...]:
        hidden, layers, biased = self.hidden, self.layers, self.attention_bias
        if self.latent is None:
            return (
                Matrix("q_proj", hidden, self.query_width, layers, biased),
                Matrix("k_proj", hidden, self.key_width, layers, biased),
                Matrix("v_proj", hidden, self.key_width, layers, biased),
                Matrix("o_proj", self.query_width, hidden, layers, self.output_bias),
            )
        latent = self.latent
        queries = self.heads * (latent.qk_nope + latent.qk_rope)
        query: tuple[Matrix, ...]
        if latent.q_rank is None:
            query = (Matrix("q_proj", hidden, queries, layers, False),)
        else:
            query = (
                Matrix("q_a_proj", hidden, latent.q_rank, layers, biased),
                Matrix("q_b_proj", latent.q_rank, queries, layers, False),
            )
        return (
            *query,
            Matrix("kv_a_proj_with_mqa", hidden, latent.kv_rank + latent.qk_rope, layers, biased),
            Matrix("kv_b_proj", latent.kv_rank, self.heads * (latent.qk_nope + latent.v), layers, False),
            Matrix("o_proj", self.heads * latent.v, hidden, layers, self.output_bias),
        )

    def _mlp_matrices(self) -> tuple[Matrix, ...]:
        experts, kinds = self.experts, []
        if self.dense_layers:
            kinds.append(("" if experts is None else "mlp.", self.intermediate, self.dense_layers))
        if experts is not None and experts.shared:
            kinds.append(("shared_experts.", experts.intermediate * experts.shared, self.sparse_layers))
        return tuple(
            matrix
            for prefix, width, count in kinds
            for matrix in (
                Matrix(f"{prefix}gate_proj", self.hidden, width, count, self.mlp_bias),
                Matrix(f"{prefix}up_proj", self.hidden, width, count, self.mlp_bias),
                Matrix(f"{prefix}down_proj", width, self.hidden, count, self.mlp_bias),
            )
        )

    @property
    def expert_matrices(self) -> tuple[Matrix, ...]:
        """The matrices of every routed expert, which transformers 5 fuses into two 3-D parameters a layer."""
        if self.experts is None:
            return ()
        width, count = self.experts.intermediate, self.sparse_layers * self.experts.count
        return (
            Matrix("experts.gate_up_proj", self.hidden, 2 * width, count),
            Matrix("experts.down_proj", width, self.hidden, count),
        )

    @property
    def routers(self) -> tuple[Matrix, ...]:
        """What scores the routed experts, one a sparse layer: neither an `nn.Linear` nor ever quantised."""
        return (Matrix("mlp.gate", self.hidden, self.experts.count, self.sparse_layers),) if self.experts else ()

    @property
    def embedding_parameters(self) -> int:
        """Input embedding and, where it is a matrix of its own, the language-model head."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def linear_parameters(self) -> int:
        """Weights of the matrices that bitsandbytes quantises: every `nn.Linear` but the language-model head."""
        return sum(matrix.weights for matrix in self.matrices)

    @property
    def fused_expert_parameters(self) -> int:
        """Weights of the routed experts: bitsandbytes' modules leave them alone, `toolkit.training` does not."""
        return sum(matrix.weights for matrix in self.expert_matrices)

    @property
    def parameters(self) -> int:
        """All parameters of the causal language model."""
        biases = sum(matrix.fan_out * matrix.count for matrix in self.matrices if matrix.bias)
        norms = (2 * self.layers + 1) * self.hidden
        if self.qk_norm:
            norms += 2 * self.head_dim * self.layers
        if self.latent is not None:
            norms += ((self.latent.q_rank or 0) + self.latent.kv_rank) * self.layers
        routers = sum(matrix.weights for matrix in self.routers)
        matrices = self.linear_parameters + self.fused_expert_parameters + routers
        return self.embedding_parameters + matrices + biases + norms

    def linear_targets(self) -> tuple[str, ...]:
        """Names of the matrices that get an adapter by default: every `nn.Linear` of the layers.

        Of a mixture of experts these are attention, dense layers and shared experts, never a routed expert or a router.
        """
        return tuple(dict.fromkeys(matrix.name for matrix in self.matrices))

    def adapter_parameters(self, rank: int, targets: Iterable[str]) -> int:
        """Parameters of a LoRA adapter of `rank` on the matrices named `targets`: rank x (in + out) for each."""
        wanted = set(targets)
        return sum(
            rank * (matrix.fan_in + matrix.fan_out) * matrix.count
            for matrix in (*self.matrices, *self.expert_matrices, *self.routers)
            if matrix.name in wanted
        )

    def active_adapter_parameters(self, rank: int, targets: Iterable[str]) -> float:
        """Of a LoRA adapter's parameters those that one token meets: of routed experts the share that is active."""
        names = set(targets)
        if self.experts is None:
            return self.adapter_parameters(rank, names)
        routed = self.adapter_parameters(rank, names & {matrix.name for matrix in self.expert_matrices})
        return self.adapter_parameters(rank, names) - routed * (1 - self.experts.per_token / self.experts.count)
