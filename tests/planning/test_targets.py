"""Names of target modules: what they stand for on dense bases and on mixtures of experts, and how many there are."""

from __future__ import annotations

import pytest

from toolkit.errors import InvalidInput
from toolkit.planning import targets
from toolkit.planning.bases import known_shape
from toolkit.planning.choices import Choice
from toolkit.planning.gpu import named
from toolkit.planning.plan import make_plan
from toolkit.planning.recipe import Recipe
from toolkit.planning.recipe_values import AdapterSettings, DataSettings
from toolkit.planning.shape import Shape

LITE, MIXTURE, DENSE = "deepseek-ai/DeepSeek-V2-Lite", "Qwen/Qwen3-30B-A3B", "Qwen/Qwen2.5-7B"
ATTENTION = ("q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")
SHARED = ("shared_experts.gate_proj", "shared_experts.up_proj", "shared_experts.down_proj")
ROUTED = ("experts.gate_up_proj", "experts.down_proj")


def shape_of(base: str) -> Shape:
    shape = known_shape(base)
    assert shape is not None
    return shape


def chosen(base: str, *names: str, dropout: float = 0.0) -> Choice:
    adapter = AdapterSettings(target_modules=names or None, dropout=dropout)
    recipe = Recipe(base, DataSettings("rows.jsonl"), "runs/x", "recipes/x.yaml", adapter=adapter)
    return make_plan(recipe, shape_of(base), named("H200")).choices["target_modules"]


def refused(base: str, *names: str, dropout: float = 0.0) -> str:
    with pytest.raises(InvalidInput) as raised:
        chosen(base, *names, dropout=dropout)
    return "\n".join(map(str, raised.value.problems))


def test_by_default_a_mixture_adapts_attention_dense_layers_and_shared_experts_and_says_how_many() -> None:
    choice = chosen(LITE)
    assert choice.value == (*ATTENTION, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", *SHARED)
    # 27 layers: four matrices of attention each, one layer dense, two shared experts as one MLP in the other 26.
    assert choice.why.startswith("108 of attention, 3 of dense layers, 78 of shared experts; the 64 routed experts")
    assert "the router stays as it is" in choice.why
    assert chosen(MIXTURE).value == ("q_proj", "k_proj", "v_proj", "o_proj")


@pytest.mark.parametrize(
    ("base", "asked", "names"),
    [
        (LITE, ("experts",), ROUTED),
        (LITE, ("attention", "experts.down_proj"), (*ATTENTION, "experts.down_proj")),
        (LITE, ("shared_experts", "router"), (*SHARED, "mlp.gate")),
        (LITE, ("all-linear", "experts", "q_proj"), (*shape_of(LITE).linear_targets(), *ROUTED)),
        (MIXTURE, ("all-linear", "experts"), ("q_proj", "k_proj", "v_proj", "o_proj", *ROUTED)),
        (DENSE, ("v_proj", "q_proj", "v_proj"), ("v_proj", "q_proj")),
    ],
)
def test_a_word_stands_for_its_matrices(base: str, asked: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert chosen(base, *asked).value == names


def test_what_is_asked_of_a_mixture_is_counted() -> None:
    assert chosen(MIXTURE, "experts", "router").why == "as the recipe says: 12,288 of routed experts, 48 of routers"
    assert chosen(DENSE, "q_proj").why == "as the recipe says: 28 of attention"


@pytest.mark.parametrize(
    ("base", "word", "message"),
    [
        (
            LITE,
            "up_proj",
            "several things in a mixture of experts; write mlp.up_proj, shared_experts.up_proj or experts",
        ),
        (LITE, "gate", "write router"),
        (MIXTURE, "down_proj", "write experts.down_proj or experts"),
        (MIXTURE, "shared_experts", "'shared_experts' is not a matrix of qwen3_moe"),
        (LITE, "expert", "did you mean 'experts'?"),
        (LITE, "shared_experts.up_prj", "did you mean 'shared_experts.up_proj'?"),
        (DENSE, "experts", "'experts' is not a matrix of qwen2"),
        (LITE, "lm_head", "lm_head cannot be adapted"),
    ],
)
def test_a_name_that_means_nothing_or_too_much_is_refused(base: str, word: str, message: str) -> None:
    assert message in refused(base, word)


def test_dropout_is_for_attention_alone_on_a_mixture() -> None:
    assert chosen(LITE, dropout=0.1).value == ATTENTION
    assert "recipe.adapter.dropout: must be 0" in refused(LITE, "all-linear", "experts", dropout=0.1)
    assert chosen(LITE, "attention", dropout=0.1).value == ATTENTION


def test_every_part_of_the_base_is_counted_in_the_adapter() -> None:
    """rank x (in + out) for each matrix, 64 experts in each of 26 layers."""
    routed = shape_of(LITE).adapter_parameters(8, targets.resolve(shape_of(LITE), ["experts"]))
    assert routed == 26 * 64 * 8 * ((2048 + 2 * 1408) + (1408 + 2048))
    assert shape_of(LITE).adapter_parameters(8, ["mlp.gate"]) == 26 * 8 * (2048 + 64)


def test_a_token_meets_the_adapters_of_its_own_experts_alone() -> None:
    shape = shape_of(LITE)
    dense, routed = shape.adapter_parameters(8, ["q_proj"]), shape.adapter_parameters(8, ROUTED)
    assert shape.active_adapter_parameters(8, ["q_proj", *ROUTED]) == pytest.approx(dense + routed * 6 / 64)
    assert shape_of(DENSE).active_adapter_parameters(8, ["q_proj"]) == shape_of(DENSE).adapter_parameters(8, ["q_proj"])
