"""How a model that learns from preferences is judged on rows it never saw: does it find the wanted answers likelier?"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toolkit.training.compared import EncodedJudged, EncodedPairs
from toolkit.training.encoding import IGNORED, Encoded
from toolkit.training.log_probs import answer_log_probs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def pair_scores(model: Any, tokenizer: PreTrainedTokenizerBase, held_out: EncodedPairs) -> dict[str, float]:
    """`preference_accuracy`: share of held-out pairs whose wanted answer has the higher mean log-probability a token;
    `preference_margin`: by how much on average, in nats a token. No reference is involved, so that before and after
    compare."""
    chosen = _means(model, tokenizer, held_out.chosen)
    rejected = _means(model, tokenizer, held_out.rejected)
    margins = [first - second for first, second in zip(chosen, rejected, strict=True)]
    right = sum(margin > 0 for margin in margins)
    return {"preference_accuracy": right / len(margins), "preference_margin": sum(margins) / len(margins)}


def judged_scores(model: Any, tokenizer: PreTrainedTokenizerBase, held_out: EncodedJudged) -> dict[str, float]:
    """The same for answers judged one by one: every wanted answer against every unwanted one (the area under the ROC
    curve), and the difference of their means. Nothing where all held-out answers are of one kind."""
    means = _means(model, tokenizer, held_out.answers)
    good = [mean for mean, wanted in zip(means, held_out.wanted, strict=True) if wanted]
    bad = sorted(mean for mean, wanted in zip(means, held_out.wanted, strict=True) if not wanted)
    if not good or not bad:
        return {}
    above = sum((bisect_left(bad, mean) + bisect_right(bad, mean)) / 2 for mean in good)
    margin = sum(good) / len(good) - sum(bad) / len(bad)
    return {"preference_accuracy": above / (len(good) * len(bad)), "preference_margin": margin}


def _means(model: Any, tokenizer: PreTrainedTokenizerBase, rows: Encoded) -> list[float]:
    sums = answer_log_probs(model, rows, tokenizer.pad_token_id)
    return [total / _counted(labels) for total, labels in zip(sums, rows.labels, strict=True)]


def _counted(labels: Sequence[int]) -> int:
    return sum(label != IGNORED for label in labels)
