"""The processes of a run as one of them sees them: which it is, what it may write, and how all of them agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.errors import TkError
from toolkit.training.stopping import StopRequest

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

STOP = "stop"  # a file that the launcher leaves in the team's folder

# Rank 0 may read and digest a base, or wait for the slowest loader, while the others stand at a barrier.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Team:
    """`rank` of `size` processes, the one numbered `local` on its machine; `folder` is where its launcher looks."""

    rank: int = 0
    size: int = 1
    local: int = 0
    folder: Path | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes: record, adapter, checkpoints, curve and progress."""
        return self.rank == 0

    def own(self, run: Path) -> Path:
        """A folder to write freely in: the run's for the first process, for others one that nobody reads."""
        if self.first or self.folder is None:
            return run
        place = self.folder / f"rank-{self.rank}"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def log(self, run: Path) -> Path:
        """The log of this process: RUN/log.txt, of the others RUN/log-RANK.txt."""
        return run / ("log.txt" if self.first else f"log-{self.rank}.txt")

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, in every process; what it raises there is raised everywhere."""
        if self.size == 1:
            return make()
        import torch.distributed as dist

        answer: list[Any] = [None, None]
        if self.first:
            try:
                answer[0] = make()
            except TkError as error:
                answer[1] = error
        dist.broadcast_object_list(answer, src=0)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]  # type: ignore[no-any-return]

    def agree(self, papers: Mapping[str, str]) -> None:
        """Raise TkError in every process unless all of them bring equal `papers`, by name: a recipe, a base, versions.

        Nodes read their own copies, and one that differs would train something else without a sign of it.
        """
        if self.size == 1:
            return
        import torch.distributed as dist

        all_papers: list[Any] = [None] * self.size
        dist.all_gather_object(all_papers, dict(papers))
        for rank, others in enumerate(all_papers):
            differing = sorted(name for name in papers if others.get(name) != all_papers[0].get(name))
            if differing:
                raise TkError(
                    f"process {rank} has another {', '.join(differing)} than process 0",
                    hint="give every node the same recipe, base, data and versions",
                )

    def dealt(self, batches: Iterable[list[int]]) -> Iterator[tuple[list[int], bool, int]]:
        """This process's share of `batches`, whether each counts, and how many items all have done after it.

        Every process gets equally many, for FSDP2 makes each take part in every pass; one that does not count is a
        batch that another process has.
        """
        listed, done = list(batches), 0
        for first in range(0, len(listed), self.size):
            turn = listed[first : first + self.size]
            done += sum(map(len, turn))
            counts = self.rank < len(turn)
            yield turn[self.rank] if counts else turn[-1], counts, done

    def added(self, value: Tensor) -> Tensor:
        """The sum of what every process brings, a tensor on the CPU."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(value)
        return value

    def merged(self, found: dict[int, str]) -> dict[int, str]:
        """What every process found, together."""
        if self.size == 1:
            return found
        import torch.distributed as dist

        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, found)
        return {number: text for part in parts for number, text in part.items()}

    def largest(self, value: int) -> int:
        """The largest of what the processes bring, such as their peak memory."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        values = [0] * self.size
        dist.all_gather_object(values, value)
        return max(values)

    def wait(self) -> None:
        """Until every process stands here."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()

    def stop_request(self) -> StopRequest:
        """How a run in this team is asked to stop: by a signal, or by the launcher in a team of several."""
        return StopRequest() if self.folder is None else _ByLauncher()


class _ByLauncher(StopRequest):
    """Signals go to the launcher, which leaves the file STOP; a callback of `take_part` looks for it and tells every process alike."""

    def __enter__(self) -> StopRequest:
        return self


ALONE = Team()
_current = ALONE


def current() -> Team:
    """The team of this process: `ALONE` unless it joined one."""
    return _current


def join(folder: Path, size: int, device_type: str) -> Team:
    """Join the processes that torchrun started, and make sure that there are `size` of them and each has its device.

    `folder` is the launcher's on this machine. Raises TkError where torchrun started another number, or the machine
    shows fewer devices than processes.
    """
    global _current
    import torch
    import torch.distributed as dist

    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device_type == "cuda":
        if torch.cuda.device_count() <= local:
            text = f"this machine shows {torch.cuda.device_count()} GPUs to torch, and process {local} needs its own"
            raise TkError(text, hint="see tk doctor and CUDA_VISIBLE_DEVICES")
        torch.cuda.set_device(local)
    backend = {"cuda": "cpu:gloo,cuda:nccl", "npu": "cpu:gloo,npu:hccl"}.get(device_type, "gloo")
    dist.init_process_group(backend, timeout=_PATIENCE)
    found = dist.get_world_size()
    if found != size:
        raise TkError(f"the plan is for {size} processes, and torchrun started {found}", hint="plan and start it anew")
    _current = Team(dist.get_rank(), found, local, folder)
    return _current


def leave() -> None:
    """Leave the team; the last thing a process does."""
    global _current
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
    _current = ALONE
