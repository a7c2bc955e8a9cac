"""The sides of `benchmarks/training.py`: the same rows, adapter, order and step, each in its own way of training.

Every side takes a `Workload` and gives an `Outcome`; model and trainer are made before the clock starts.
"""

from __future__ import annotations

import contextlib
import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from toolkit.training.settings import Settings

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Workload:
    """What is trained: a base (a folder, or the fields of a configuration for random weights), rows and settings.

    `settings` are the plan's own, as `tk finetune` takes them; the others are told the same numbers.
    """

    name: str
    base: Path | dict[str, object]
    input_ids: list[list[int]]
    labels: list[list[int]]
    settings: Settings

    @property
    def batch_size(self) -> int:
        return self.settings.micro_batch_size * self.settings.accumulation

    @property
    def steps(self) -> int:
        assert self.settings.max_steps is not None
        return self.settings.max_steps


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds from the end of the first step, which warms up, to that of the last, and the loss of every step.
    `cpu_seconds` are the process's, over all threads; `first_seconds` is what came before, the trainer's making too."""

    cpu_seconds: float
    wall_seconds: float
    first_seconds: float
    losses: tuple[float, ...]


class Clock:
    """Notes process and wall time at the end of every step; on a GPU, once what was launched is done."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._marks: list[tuple[float, float]] = []
        self.mark()

    def mark(self) -> None:
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()
        self._marks.append((time.process_time(), time.perf_counter()))

    def outcome(self, losses: Sequence[float]) -> Outcome:
        assert len(self._marks) == len(losses) + 1 > 2, "two steps at least, and a mark after each"
        (began, _), (cpu, wall), *_, (cpu_end, wall_end) = self._marks
        return Outcome(cpu_end - cpu, wall_end - wall, cpu - began, tuple(losses))


def tk(work: Workload) -> Outcome:
    """What `tk finetune` runs between loading the base and saving the adapter."""
    import json

    from toolkit.training.encoding import Encoded
    from toolkit.training.methods import sft
    from toolkit.training.progress import Event

    model, clock = adapted(work), Clock(work.settings.device_type)

    def watch(event: Event) -> None:
        if event.done is not None:
            clock.mark()

    with tempfile.TemporaryDirectory() as folder:
        data = Encoded(work.input_ids, work.labels)
        sft.train(model, tokenizer_of(work), data, work.settings, Path(folder), watch, keep_checkpoints=False)
        curve = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return clock.outcome([json.loads(line)["loss"] for line in curve])


def trl_as_shipped(work: Workload) -> Outcome:
    """A bare TRL script: bfloat16 by autocast, activations recomputed, rows padded in micro-batches of 8."""
    return _trl(work)


def trl_sane(work: Workload) -> Outcome:
    """The same with what an engineer sets on a CPU: float32 and no recomputation; on a GPU no recomputation alone."""
    return _trl(work, gradient_checkpointing=False, bf16=work.settings.device_type == "cuda")


def by_hand(work: Workload) -> Outcome:
    """The same arithmetic as tk's in a loop of its own: no trainer, no data loader, no callbacks."""
    import torch

    from toolkit.training.batches import FlatCollator, PackedCollator
    from toolkit.training.losses import next_token_losses
    from toolkit.training.row_attention import attending_within_rows

    model, settings, clock = adapted(work), work.settings, Clock(work.settings.device_type)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    cuda = settings.device_type == "cuda"
    collate = PackedCollator(0) if cuda else FlatCollator()
    losses: list[float] = []
    model.train()
    order = order_of(work)
    with contextlib.nullcontext() if cuda else attending_within_rows(model):
        for step in range(work.steps):
            chosen = [order[(step * work.batch_size + index) % len(order)] for index in range(work.batch_size)]
            counted = sum(label != IGNORED for index in chosen for label in work.labels[index][1:])
            total = torch.zeros((), device=settings.device_type)
            for begin in range(0, len(chosen), settings.micro_batch_size):
                micro = chosen[begin : begin + settings.micro_batch_size]
                batch = collate([{"input_ids": work.input_ids[i], "labels": work.labels[i]} for i in micro])
                inputs = {name: value.to(settings.device_type) for name, value in batch.items()}
                labels = inputs.pop("labels")
                loss = next_token_losses(model, inputs, labels).sum() / counted
                loss.backward()
                total += loss.detach()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            adam.step()
            adam.zero_grad(set_to_none=True)
            losses.append(float(total))
            clock.mark()
    return clock.outcome(losses)


def unsloth(work: Workload) -> Outcome:
    """Unsloth's own loading, adapter and trainer, at its documented settings."""
    from unsloth import FastLanguageModel  # type: ignore[import-not-found]

    with folder_of(work) as folder:
        model, tokenizer = FastLanguageModel.from_pretrained(
            str(folder), max_seq_length=work.settings.max_length, load_in_4bit=work.settings.adapter == "qlora"
        )
    model = FastLanguageModel.get_peft_model(
        model,
        r=work.settings.rank,
        lora_alpha=work.settings.alpha,
        target_modules=list(work.settings.targets),
        use_gradient_checkpointing="unsloth",
        random_state=work.settings.seed,
    )
    return _trl(work, model=model, tokenizer=tokenizer)


def _trl(work: Workload, *, model: Any = None, tokenizer: Any = None, **told: Any) -> Outcome:
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    settings, per_device = work.settings, min(8, work.batch_size)
    model, clock = model or adapted(work), Clock(settings.device_type)

    class Marks(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                clock.mark()

    rows = Dataset.from_dict({"input_ids": work.input_ids, "labels": work.labels})
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=per_device,
            gradient_accumulation_steps=work.batch_size // per_device,
            max_steps=settings.max_steps or -1,
            learning_rate=settings.learning_rate,
            lr_scheduler_type=settings.scheduler,
            warmup_steps=settings.warmup,
            weight_decay=settings.weight_decay,
            max_length=settings.max_length,
            seed=settings.seed,
            data_seed=settings.seed,
            use_cpu=settings.device_type == "cpu",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},
            **told,
        )
        trainer = SFTTrainer(
            model=model, args=config, train_dataset=rows, processing_class=tokenizer or tokenizer_of(work)
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Marks())
        trainer.train()
        return clock.outcome([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])


SIDES: dict[str, Callable[[Workload], Outcome]] = {
    "tk": tk,
    "hand-tuned loop": by_hand,
    "TRL, sane settings": trl_sane,
    "TRL as shipped": trl_as_shipped,
}


def adapted(work: Workload) -> Any:
    """The base with its adapter, the same to the bit for every side."""
    import torch
    from peft import LoraConfig, get_peft_model

    from toolkit.training.tracing.measure import random_base

    gc.collect()
    torch.manual_seed(work.settings.seed)
    if isinstance(work.base, Path):
        from toolkit.training.base import load_base

        settings = work.settings
        model = load_base(work.base, dtype=settings.dtype, device=settings.device_type)
    else:
        model = random_base(work.base, work.settings)
    torch.manual_seed(work.settings.seed)
    settings = work.settings
    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, target_modules=list(settings.targets), task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


@contextmanager
def folder_of(work: Workload) -> Iterator[Path]:
    """The base as a folder, for a side that loads it by itself."""
    if isinstance(work.base, Path):
        yield work.base
        return
    from toolkit.training.tracing.measure import random_base

    with tempfile.TemporaryDirectory() as folder:
        random_base(work.base, work.settings).save_pretrained(folder)
        tokenizer_of(work).save_pretrained(folder)
        yield Path(folder)


def tokenizer_of(work: Workload) -> Any:
    """No side tokenises anything; trainers ask for the padding token."""
    from tokenizers import Tokenizer
    from tokenizers import models as kinds
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(kinds.WordLevel({"<pad>": 0, "</s>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="</s>")


def order_of(work: Workload) -> list[int]:
    """The order in which transformers' trainer draws the rows: `torch.randperm` from the data seed."""
    import torch

    generator = torch.Generator()
    generator.manual_seed(work.settings.seed)
    return [int(index) for index in torch.randperm(len(work.input_ids), generator=generator)]


def skewed_rows(count: int, vocabulary: int, longest: int, seed: int) -> tuple[list[list[int]], list[list[int]]]:
    """Rows as chats have them: log-normal lengths (median 110, mean 188 tokens), the second half of each counted.

    Tokens follow a law of Zipf that the row's first token shifts, so that there is something to learn.
    """
    random, ids, labels = Random(seed), [], []
    for _ in range(count):
        length = max(16, min(longest, round(random.lognormvariate(4.70, 1.035))))
        shift = random.randrange(16)
        row = [2 + (shift * 131 + int(random.paretovariate(0.9))) % (vocabulary - 2) for _ in range(length)]
        ids.append(row)
        labels.append([IGNORED] * (length // 2) + row[length // 2 :])
    return ids, labels
