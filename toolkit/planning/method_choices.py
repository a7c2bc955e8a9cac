"""What the method decides of a plan, each with its reason: learning rate, loss, reference, rewards."""

from __future__ import annotations

from toolkit.files.digests import sha256_file
from toolkit.planning.choices import ASKED, Choice
from toolkit.planning.method_problems import reward_file
from toolkit.planning.method_settings import BUILT_IN_REWARDS
from toolkit.planning.recipe import Recipe
from toolkit.planning.shape import Shape

_LARGE = 30_000_000_000

# Peak learning rate for LoRA below 30 B parameters, and why it is not that of supervised fine-tuning. Full fine-tuning
# takes a tenth of them; TRL's defaults are made for that.
_RATES = {
    "pretrain": (1e-4, "half of what instructions take: raw text moves a base further from what it knows"),
    "dpo": (2e-5, "usual for DPO with LoRA, between 5e-6 and 5e-5; TRL's default, 1e-6, is for full fine-tuning"),
    "kto": (2e-5, "usual for KTO with LoRA, between 5e-6 and 5e-5; TRL's default, 1e-6, is for full fine-tuning"),
    "orpo": (5e-5, "ORPO learns the answers too, so it takes more than DPO; the paper's 8e-6 is for full fine-tuning"),
    "grpo": (1e-5, "usual for GRPO with LoRA; TRL's default, 1e-6, is for full fine-tuning"),
}
_LOSSES = {
    "dpo": ("sigmoid", "the loss of the DPO paper"),
    "kto": ("kto", "the loss of the KTO paper"),
    "orpo": ("odds-ratio", "ORPO's only loss: likelihood of the wanted answer and its odds against the other"),
}
_BETAS = {
    "dpo": (0.1, "the paper's value; higher holds the model closer to what it was"),
    "kto": (0.1, "the paper's value; higher holds the model closer to what it was"),
    "orpo": (0.1, "the weight of the odds ratio in the paper's experiments"),
}


def method_choices(recipe: Recipe, shape: Shape) -> dict[str, Choice]:
    """The choices of one method; none for supervised fine-tuning, of which everything else is a variation."""
    method = recipe.method
    if method == "sft":
        return {}
    found: dict[str, Choice] = {}
    if recipe.train.learning_rate is None:
        rate, why = _RATES[method]
        large = shape.parameters >= _LARGE
        found["learning_rate"] = Choice(
            rate / 2 if large else rate, f"{why}; half of it from 30 B on" if large else why
        )
    if method in _BETAS:
        found |= _preference(recipe)
    if method in ("dpo", "kto"):
        found["reference"] = Choice(
            "adapter off", _reference(recipe, "its log-probabilities are computed once, before")
        )
    if method == "grpo":
        found |= _grpo(recipe)
    return found


def _preference(recipe: Recipe) -> dict[str, Choice]:
    method, asked = recipe.method, recipe.preference
    loss = Choice(asked.loss, ASKED) if asked.loss is not None else Choice(*_LOSSES[method])
    beta = Choice(asked.beta, ASKED) if asked.beta is not None else Choice(*_BETAS[method])
    return {"preference_loss": loss, "beta": beta}


def _reference(recipe: Recipe, when: str) -> str:
    if recipe.adapter.start is None:
        return f"the base itself, no second copy of it; {when} training"
    return f"the model as it is with the adapter of {recipe.adapter.start}; {when} training"


def _grpo(recipe: Recipe) -> dict[str, Choice]:
    asked = recipe.grpo
    found = {
        "reward": Choice(asked.reward, "; ".join(_reward(name, recipe) for name in asked.reward)),
        "generations": Choice(asked.generations, "answers to a prompt are compared with each other; 8 if left out"),
        "max_completion_length": Choice(asked.max_completion_length, "answers stop there, finished or not"),
        "temperature": Choice(asked.temperature, "samples must differ to be compared; 1 samples the model as it is"),
        "beta": Choice(asked.beta, "0 needs no reference, and an adapter of low rank stays near the base by itself"),
    }
    if asked.beta:
        found["beta"] = Choice(asked.beta, f"{ASKED}; holds the model to the reference")
        found["reference"] = Choice("adapter off", _reference(recipe, "its log-probabilities are computed while"))
    return found


def _reward(name: str, recipe: Recipe) -> str:
    if name == "exact-match":
        where = f", as found by {recipe.grpo.pattern}" if recipe.grpo.pattern else ""
        return f"exact-match: 1 where the answer{where} is the row's own"
    if name in BUILT_IN_REWARDS:
        return f"format: 1 where the answer matches {recipe.grpo.pattern}"
    path = reward_file(name.rpartition(":")[0], recipe.path)
    digest = sha256_file(path)[:12] if path else "unknown"
    return f"{name}: code of yours that the run executes (sha256 {digest}…)"
