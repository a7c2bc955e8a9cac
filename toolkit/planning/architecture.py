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
    """One kind of `nn.Linear`: the module's leaf name, its width in and out, how many there are, whether with bias."""

    name: str
    fan_in: int
    fan_out: int
    count: int
    bias: bool
    adaptable: bool = True

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
    def matrices(self) -> tuple[Matrix, ...]:
        """Every `nn.Linear` inside the layers; language-model head, routers and fused experts are not among them."""
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
        experts, widths = self.experts, []
        if self.dense_layers:
            widths.append((self.intermediate, self.dense_layers))
        if experts is not None and experts.shared:
            widths.append((experts.intermediate * experts.shared, self.layers - experts.dense_layers))
        # PEFT 0.21 turns gate_proj, up_proj and down_proj of a mixture into adapters on every routed expert (as names,
        # as full paths and as a pattern alike), so on these models they cannot be adapted by name.
        alone = experts is None
        return tuple(
            matrix
            for width, count in widths
            for matrix in (
                Matrix("gate_proj", self.hidden, width, count, self.mlp_bias, alone),
                Matrix("up_proj", self.hidden, width, count, self.mlp_bias, alone),
                Matrix("down_proj", width, self.hidden, count, self.mlp_bias, alone),
            )
        )

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
        """Weights of the routed experts: in transformers 5 3-D parameters, which bitsandbytes leaves alone."""
        if self.experts is None:
            return 0
        sparse = self.layers - self.experts.dense_layers
        return sparse * self.experts.count * 3 * self.hidden * self.experts.intermediate

    @property
    def parameters(self) -> int:
        """All parameters of the causal language model."""
        biases = sum(matrix.fan_out * matrix.count for matrix in self.matrices if matrix.bias)
        norms = (2 * self.layers + 1) * self.hidden
        if self.qk_norm:
            norms += 2 * self.head_dim * self.layers
        if self.latent is not None:
            norms += ((self.latent.q_rank or 0) + self.latent.kv_rank) * self.layers
        routers = 0
        if self.experts is not None:
            routers = (self.layers - self.experts.dense_layers) * self.experts.count * self.hidden
        matrices = self.linear_parameters + self.fused_expert_parameters + routers
        return self.embedding_parameters + matrices + biases + norms

    def linear_targets(self) -> tuple[str, ...]:
        """Leaf names of the modules that get an adapter by default: every matrix PEFT can adapt one by one.

        For a mixture of experts these are the attention matrices: never the router, never the routed experts.
        """
        return tuple(dict.fromkeys(matrix.name for matrix in self.matrices if matrix.adaptable))

    def adapter_parameters(self, rank: int, targets: Iterable[str]) -> int:
        """Parameters of a LoRA adapter of `rank` on the modules named `targets`: rank x (in + out) for each matrix."""
        wanted = set(targets)
        return sum(
            rank * (matrix.fan_in + matrix.fan_out) * matrix.count
            for matrix in self.matrices
            if matrix.name in wanted and matrix.adaptable
        )
