"""Group relative policy optimisation (https://arxiv.org/abs/2402.03300): several answers are sampled to each prompt, and
those that are rewarded above their group's mean become likelier, by TRL's `GRPOTrainer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.training.answers import Question, answers_to
from toolkit.training.arguments import training_arguments
from toolkit.training.compared import EncodedTasks, encode_tasks
from toolkit.training.evaluation import Scores
from toolkit.training.fit import Trained, fit
from toolkit.training.log_probs import use_tiled_head
from toolkit.training.progress import Progress
from toolkit.training.rewards import Reward, load_rewards, mean_rewards
from toolkit.training.trainers import adapter_kept, bare

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from toolkit.planning.recipe_values import EvaluateSettings
    from toolkit.training.examples import Example
    from toolkit.training.metrics import Metric
    from toolkit.training.settings import Settings

CONVERSES = True
CURVE = {"reward": "reward", "reward_std": "reward_std", "completions/mean_length": "completion_length",
         "completions/clipped_ratio": "clipped", "frac_reward_zero_std": "undecided", "kl": "kl"}  # fmt: skip


def encode(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, settings: Settings) -> EncodedTasks:
    """Prompts, and the rewards of their rows, which are loaded here: a reward that cannot be computed is known before a
    model is. Raises InvalidInput naming each row that cannot be used, TkError for a reward that cannot."""
    data = encode_tasks(examples, tokenizer, settings.max_length, settings.grpo.max_completion_length)
    return replace(data, rewards=load_rewards(settings.grpo, settings.recipe, data.tasks))


def questions(
    examples: Sequence[Example], held_out: EncodedTasks, tokenizer: PreTrainedTokenizerBase, asked: EvaluateSettings
) -> tuple[Question, ...]:
    """Held-out prompts; what is expected of them is the row's answer, if it has one."""
    return tuple(
        Question(ids, task.messages[-1]["content"], task.answer or "")
        for ids, task in list(zip(held_out.input_ids, held_out.tasks, strict=True))[: asked.generate]
    )


def score(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    held_out: EncodedTasks,
    questions: Sequence[Question],
    stops: Sequence[int],
    asked: EvaluateSettings,
    report: Callable[[int, int], None],
    metrics: Sequence[Metric],
) -> Scores:
    """Mean reward of the likeliest answers to held-out prompts, which are as long as those that training samples; and
    the recipe's metrics where every row has an answer."""
    import torch

    if not questions:
        return Scores(None, ())
    was_training = model.training
    model.eval()
    with torch.no_grad():
        answers = answers_to(
            model, tokenizer, questions, stops, held_out.room, lambda done: report(done, len(questions))
        )
    model.train(was_training)
    ids = tokenizer(list(answers), add_special_tokens=False)["input_ids"]
    found = dict(mean_rewards(held_out.rewards, held_out.tasks[: len(questions)], answers, ids))
    if all(question.expected for question in questions):
        expected, prompts = [item.expected for item in questions], [item.prompt for item in questions]
        found |= {metric.score: metric.mean(answers, expected, prompts) for metric in metrics}
    return Scores(None, answers, found)


def train(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    data: EncodedTasks,
    settings: Settings,
    run: Path,
    progress: Progress,
    checkpoint: Path | None = None,
    *,
    keep_checkpoints: bool = True,
) -> Trained:
    """Train the adapter of `model` in place, as `Method.train` has it."""
    from datasets import Dataset
    from trl import GRPOConfig

    asked = settings.grpo
    args = GRPOConfig(
        **training_arguments(settings, run, keep_checkpoints=keep_checkpoints),
        num_generations=asked.generations,
        max_completion_length=asked.max_completion_length,
        temperature=asked.temperature,
        beta=asked.beta,
        generation_kwargs={"use_cache": True},
        disable_dropout=not settings.dropout,
        router_aux_loss_coef=0.0,  # the router of a mixture of experts is frozen
    )
    prompts = Dataset.from_dict({"prompt": [list(task.messages) for task in data.tasks], "row": list(range(data.rows))})
    with adapter_kept(model):
        trainer = _trainer_class()(
            model=model,
            args=args,
            train_dataset=prompts,
            processing_class=tokenizer,
            reward_funcs=[_for_trl(reward, data) for reward in data.rewards],
        )
    if settings.device_type != "cuda" and asked.temperature == 1.0:
        use_tiled_head(model)
    trained = fit(trainer, settings, run, progress, tokens=data.tokens, checkpoint=checkpoint, figures=CURVE)
    seen = int(trainer.state.num_input_tokens_seen)
    sampled = seen - round(data.tokens * asked.generations * trained.epochs)
    return replace(trained, tokens=seen, forward_tokens=seen * (2 if asked.beta else 1), loss_tokens=sampled)


def _for_trl(reward: Reward, data: EncodedTasks) -> Callable[..., list[float | None]]:
    """A reward as TRL calls one; the column `row` says of which task each completion is."""

    def rate(completions: Any, completion_ids: Any, row: Sequence[int], **_: Any) -> list[float | None]:
        return reward(
            [data.tasks[index] for index in row], [turns[0]["content"] for turns in completions], completion_ids
        )

    rate.__name__ = reward.name
    return rate


def _trainer_class() -> Any:
    """TRL's trainer, whose order of prompts in an epoch is known from the epoch alone.

    Its sampler (trl 1.16.0, trainer/utils.py, `RepeatSampler`) draws one permutation after another from one generator,
    so that a run which is gone on with in its second epoch would begin with the first one's order again.
    """
    from trl import GRPOTrainer
    from trl.trainer.utils import RepeatSampler

    class EpochSampler(RepeatSampler):  # type: ignore[misc]  # trl is not followed
        def set_epoch(self, epoch: int) -> None:
            self.generator.manual_seed(self.seed + epoch)

    class Trainer(bare(GRPOTrainer)):  # type: ignore[misc]  # trl is not followed
        def _get_train_sampler(self, dataset: Any = None) -> Any:
            plain = super()._get_train_sampler(dataset)
            settings = ("data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed")
            return EpochSampler(**{name: getattr(plain, name) for name in settings})

    return Trainer
