"""What a recipe may settle for one training method alone, and which data each method learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.files.schema import Key, ListOf, Number, Record, Text

# The first format of a method is what its messages ask for.
FORMATS_OF: Mapping[str, tuple[str, ...]] = {
    "sft": ("messages", "prompt-completion", "alpaca", "sharegpt", "text"),
    "pretrain": ("text",),
    "dpo": ("preference",),
    "orpo": ("preference",),
    "kto": ("unpaired-preference",),
    "grpo": ("prompt-only",),
}
SECTION_OF: Mapping[str, str] = {"dpo": "preference", "orpo": "preference", "kto": "preference", "grpo": "grpo"}

# The losses of TRL that need no further number. ORPO has one loss.
LOSSES_OF: Mapping[str, tuple[str, ...]] = {
    "dpo": (
        "sigmoid",
        "ipo",
        "hinge",
        "sigmoid_norm",
        "apo_zero",
        "apo_down",
        "nca_pair",
        "bco_pair",
        "sppo_hard",
        "aot",
        "aot_unpaired",
        "discopop",
    ),
    "kto": ("kto", "apo_zero_unpaired"),
    "orpo": (),
}
BUILT_IN_REWARDS = ("exact-match", "format")


@dataclass(frozen=True, slots=True)
class PreferenceSettings:
    """For dpo, orpo and kto. The weights of wanted and unwanted answers are kto's alone."""

    beta: float | None = None
    loss: str | None = None
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class GrpoSettings:
    """For grpo: what is rewarded (`exact-match`, `format`, or `file.py:function`), and how answers are sampled."""

    reward: tuple[str, ...] = ("exact-match",)
    pattern: str | None = None
    generations: int = 8
    max_completion_length: int = 256
    temperature: float = 1.0
    beta: float = 0.0


def method_keys() -> dict[str, Key]:
    """The sections of a recipe that belong to single methods."""
    beta = Number(above=0, maximum=100)
    weight = Number(above=0, maximum=1000)
    every_loss = tuple(dict.fromkeys(name for names in LOSSES_OF.values() for name in names))
    preference = Record(
        {
            "beta": Key(beta, "How much the model is held to what it was; of orpo the weight of the odds ratio"),
            "loss": Key(Text(every_loss), "Loss as TRL names it; sigmoid for dpo and kto for kto when left out"),
            "desirable_weight": Key(weight, "kto: weight of answers labelled true", default=1.0),
            "undesirable_weight": Key(weight, "kto: weight of answers labelled false", default=1.0),
        },
        PreferenceSettings,
        renamed={"loss_type": "loss", "pref_beta": "beta", "pref_loss": "loss", "orpo_alpha": "beta"},
    )
    grpo = Record(
        {
            "reward": Key(
                ListOf(Text(), or_one=True),
                "exact-match, format, or file.py:function beside or below the recipe or the current folder; "
                "several are added up",
                default="exact-match",
            ),
            "pattern": Key(Text(), "Regular expression: what format asks of an answer, and what exact-match compares"),
            "generations": Key(Number(minimum=2, maximum=256, whole=True), "Answers sampled to a prompt", default=8),
            "max_completion_length": Key(
                Number(minimum=1, whole=True), "Longest answer, in tokens; part of train.max_length", default=256
            ),
            "temperature": Key(Number(above=0, maximum=10), "Temperature of the samples", default=1.0),
            "beta": Key(
                Number(minimum=0, maximum=100),
                "How much the model is held to what it was; 0 needs no reference",
                default=0.0,
            ),
        },
        GrpoSettings,
        renamed={
            "num_generations": "generations",
            "reward_funcs": "reward",
            "reward_function": "reward",
            "max_new_tokens": "max_completion_length",
        },
    )
    return {"preference": Key(preference, "For dpo, orpo and kto"), "grpo": Key(grpo, "For grpo")}
