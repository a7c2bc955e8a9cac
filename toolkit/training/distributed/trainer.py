"""A TRL trainer that takes part in a team: its share of each batch, one reduction a step, one writer, one way to stop."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.training.distributed import state
from toolkit.training.distributed.shares import Shares, WithBlank
from toolkit.training.distributed.strategy import decoder_of, is_sharded
from toolkit.training.distributed.team import STOP, Team
from toolkit.training.stopping import StopRequest


def take_part(trainer: Any, team: Team, stop: StopRequest) -> None:
    """Make `trainer` train its share of `team`; nothing changes for a team of one.

    Raises TkError where accelerate does not see the team: it would train every row in every process.
    """
    if team.size == 1:
        return
    accelerator = trainer.accelerator
    seen = (accelerator.num_processes, str(accelerator.distributed_type).rpartition(".")[2])
    if seen[0] != team.size or not seen[1].startswith("MULTI_"):
        raise TkError(f"{team.size} processes were started, and accelerate sees {seen[0]} ({seen[1]})")
    trainer.__class__ = type(trainer.__class__.__name__, (_member(), trainer.__class__), {"team": team})
    # Mixed precision stays accelerate's; placing and wrapping was done (`distribute`).
    trainer.accelerator.prepare_model = partial(_only_cast, accelerator.prepare_model)
    trainer.add_callback(_agree_to_stop(team, stop))


def _only_cast(prepare_model: Any, model: Any, **_: Any) -> Any:
    model._is_accelerate_prepared = False
    prepared = prepare_model(model, device_placement=False, evaluation_mode=True)
    model._is_accelerate_prepared = True
    return prepared


@cache
def _member() -> Any:
    """The mixin; made on first use, since torch is imported no earlier."""
    import torch
    from torch.utils.data import DataLoader

    class Member:
        team: Team

        def get_train_dataloader(self: Any) -> Any:
            """The loader of one process, its batches dealt out by `Shares` instead of accelerate."""
            loader = super().get_train_dataloader()  # type: ignore[misc]
            shares = Shares(loader.batch_sampler.batch_sampler, self.team.rank, self.team.size)
            own = DataLoader(
                WithBlank(loader.dataset),
                batch_sampler=shares,
                collate_fn=loader.collate_fn,
                num_workers=loader.num_workers,
                pin_memory=loader.pin_memory,
                worker_init_fn=loader.worker_init_fn,
            )
            own.set_epoch = shares.set_epoch
            return own

        def training_step(self: Any, *args: Any, **options: Any) -> Any:
            decoder_of(self.model).set_requires_gradient_sync(self.accelerator.sync_gradients or is_sharded(self.model))
            return super().training_step(*args, **options)  # type: ignore[misc]

        def _save(self: Any, output_dir: str | None = None, state_dict: Any = None) -> None:
            if state_dict is None and is_sharded(self.model):
                state_dict = state.whole_adapter(self.model)
            super()._save(output_dir, state_dict)  # type: ignore[misc]

        def _save_optimizer_and_scheduler(self: Any, output_dir: str) -> None:
            if not is_sharded(self.model):
                super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]
                return
            whole = state.whole_optimizer(self.optimizer)
            if self.args.should_save:
                torch.save(whole, Path(output_dir) / "optimizer.pt")
                torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

        def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
            """Every process puts its random state in; the file that says a checkpoint is whole comes after all."""
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            self.team.wait()

        def _save_rng_state(self: Any, output_dir: str) -> None:
            super()._save_rng_state(output_dir)  # type: ignore[misc]
            self.team.wait()

        def _load_from_checkpoint(self: Any, *args: Any, **options: Any) -> None:
            if not is_sharded(self.model):  # else it was loaded before it was cut
                super()._load_from_checkpoint(*args, **options)  # type: ignore[misc]

        def _load_optimizer_and_scheduler(self: Any, checkpoint: str | None) -> None:
            if checkpoint is None or not is_sharded(self.model):
                super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
                return
            state.load_optimizer(self.optimizer, Path(checkpoint) / "optimizer.pt")
            schedule = torch.load(Path(checkpoint) / "scheduler.pt", weights_only=True)
            self.lr_scheduler.load_state_dict(schedule)

    return Member


def _agree_to_stop(team: Team, stop: StopRequest) -> Any:
    """A callback that asks after each step whether any machine was told to stop, so that all stop after the same one."""
    import torch
    import torch.distributed as dist
    from transformers import TrainerCallback

    class Agree(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            asked = torch.tensor(float(team.folder is not None and (team.folder / STOP).exists()))
            dist.all_reduce(asked, op=dist.ReduceOp.MAX)
            stop.asked = bool(asked)
            if stop.asked and state.global_step < state.max_steps:
                control.should_save = control.should_training_stop = True

    return Agree()
