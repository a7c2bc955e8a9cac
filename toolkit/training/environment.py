"""The process around a run: quiet libraries, no telemetry, and what the run record says about machine and versions."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from toolkit.errors import TkError
from toolkit.training.distributed.team import current

_LIBRARIES = (
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "bitsandbytes",
    "huggingface_hub",
    "py.warnings",
    "mlflow",
    "alembic",
    "wandb",
    "lm_eval",
)
_RECORDED = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "tokenizers",
    "safetensors",
    "bitsandbytes",
)


def prepare(gpu: str | None = None) -> None:
    """Set what libraries read when they are imported; call it before the first heavy import.

    `gpu` is the one the run was planned for, as CUDA_VISIBLE_DEVICES names it: nothing else may be in sight, or
    Trainer would split each batch over all of them.
    Raises TkError under a launcher of several processes that is not `tk finetune`'s own: it would train the same rows
    twice.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and current().size == 1:
        raise TkError(
            "several processes were launched, and none of them by tk",
            hint="start it without torchrun or accelerate launch: tk finetune RECIPE --gpus N",
        )
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["DO_NOT_TRACK"] = "1"
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    for name, value in (
        # Threads that spin while they wait stall each other as soon as anything else wants a core: on two busy cores a
        # run of 13 seconds took more than 300.
        ("OMP_WAIT_POLICY", "PASSIVE"),
        ("TOKENIZERS_PARALLELISM", "true"),  # no process is forked after tokenising, so threads are safe
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("BITSANDBYTES_NOWELCOME", "1"),
        ("CUDA_VISIBLE_DEVICES", "0"),
        ("PYTORCH_ALLOC_CONF", "expandable_segments:True"),
    ):
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def quiet_libraries(log: Path) -> Iterator[logging.Logger]:
    """Send what libraries log, warn and print to the file `log`; gives the logger for our own lines. Data on stdout stays ours."""
    handler = logging.FileHandler(log, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours = logging.getLogger("toolkit.training")
    loggers = [ours, *map(logging.getLogger, _LIBRARIES)]
    before = [(logger, logger.handlers[:], logger.propagate, logger.level) for logger in loggers]
    logging.captureWarnings(True)
    _hide_bars()
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
    ours.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield ours
    finally:
        logging.captureWarnings(False)
        for logger, handlers, propagate, level in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        handler.close()


def versions() -> dict[str, str]:
    """Versions of Python and of every library that a result depends on."""
    found = {"python": platform.python_version()}
    for name in _RECORDED:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def hardware(device: str, name: str) -> dict[str, object]:
    """The machine of a run: device kind and name, CPU cores, main memory in bytes, threads that torch uses."""
    import torch

    facts: dict[str, object] = {
        "device": device,
        "name": name,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }
    if torch.cuda.is_available():
        facts["name"] = torch.cuda.get_device_name(0)
        facts["device_memory_bytes"] = torch.cuda.get_device_properties(0).total_memory
        facts["cuda"] = torch.version.cuda or torch.version.hip
    return facts


def available_memory_bytes() -> int | None:
    """Main memory that can be taken without swapping; None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def import_trainer() -> None:
    """Import what training imports, so that the memory of libraries is not taken for that of the run."""
    import datasets
    import peft
    import trl

    for library, name in ((datasets, "Dataset"), (peft, "get_peft_model"), (trl, "SFTTrainer"), (trl, "SFTConfig")):
        getattr(library, name)  # trl imports what is asked for


class PeakMemory:
    """The most memory a run held, in bytes: allocated on the device, or resident in main memory on a CPU.

    On a CPU, what the process held before the base was loaded (Python and libraries) is counted apart as `baseline`.
    """

    def __init__(self, device_type: str) -> None:
        self._device = device_type
        self.baseline = 0
        if device_type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the high-water mark of earlier work
            self.baseline = _resident_bytes("VmRSS")

    def bytes(self) -> int:
        """The peak since this was made."""
        if self._device == "cuda":
            import torch

            return int(torch.cuda.max_memory_allocated())
        # The kernel counts resident pages in batches, so the mark may lag a little behind the reading it began with.
        return max(_resident_bytes("VmHWM"), self.baseline)


def memory_now(device_type: str) -> int:
    """Bytes that the process holds at this moment: allocated on the device, else resident in main memory.

    Neither reading makes a GPU wait: the allocator counts on the host.
    """
    if device_type == "cuda":
        import torch

        return int(torch.cuda.memory_allocated())
    return _resident_bytes("VmRSS")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    from transformers import set_seed

    set_seed(seed)


def _resident_bytes(field: str) -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource  # no /proc: macOS counts bytes

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _hide_bars() -> None:
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    if "datasets" in sys.modules:
        import datasets

        datasets.disable_progress_bars()
