"""Starting a run in several processes with torchrun, watching it, and telling how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from toolkit.errors import TkError, UsageError
from toolkit.training.distributed.order import Events, Order, failures
from toolkit.training.distributed.team import STOP
from toolkit.training.progress import Progress
from toolkit.training.stopping import Stopped

_POLL_SECONDS = 0.1
_MEETING_SECONDS = 900  # a scheduler may start its nodes minutes apart; torchrun waits one minute by itself
_SIOCGIFADDR = 0x8915  # Linux: the address of an interface
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # schedulers warn of a limit with SIGUSR1


@dataclass(frozen=True, slots=True)
class Nodes:
    """This machine among `count`, and where they meet: `endpoint` is host:port of the first, `address` this one's own.

    One machine needs no meeting point.
    """

    count: int = 1
    rank: int = 0
    endpoint: str | None = None
    identifier: str = "tk"
    address: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise UsageError(f"--node-rank {self.rank}: {self.count} nodes are numbered 0 to {self.count - 1}")
        if self.count == 1:
            return
        host, _, port = (self.endpoint or "").rpartition(":")
        if not host or not port.isdecimal():
            raise UsageError(
                f"--nodes {self.count} meet at one address that all of them reach",
                hint="pass --rdzv-endpoint HOST:PORT with the first node's, to every node",
            )
        if host.strip("[]").lower() in ("localhost", "127.0.0.1", "::1"):
            raise UsageError(
                f"--rdzv-endpoint {self.endpoint}: every node would meet only itself there",
                hint="name the first node by an address that the others reach",
            )


def command(nodes: Nodes, processes: int, max_restarts: int, folder: Path) -> list[str]:
    """The torchrun that starts `processes` workers here.

    Which machine is the host is said outright: torchrun guesses by comparing names, and where a machine does not know
    its own (no DNS), every one waits for another to be it until all time out.
    """
    if nodes.count == 1:
        meeting = ["--standalone"]
    else:
        meeting = [
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={nodes.endpoint}",
            f"--rdzv-id={nodes.identifier}",
            f"--rdzv-conf=is_host={int(nodes.rank == 0)},timeout={_MEETING_SECONDS},join_timeout={_MEETING_SECONDS}",
            f"--local-addr={nodes.address or own_address(str(nodes.endpoint))}",
        ]
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        f"--nnodes={nodes.count}",
        f"--nproc-per-node={processes}",
        f"--max-restarts={max_restarts}",
        *meeting,
        *("-m", "toolkit.training.distributed.worker", str(folder)),
    ]


def own_address(endpoint: str, patience_seconds: float = 60) -> str:
    """The address of this machine on the way to `endpoint` (host:port); nothing is sent to find out.

    A cluster may publish a name a little later than it starts the machine. Raises TkError where there is no way.
    """
    host, _, port = endpoint.rpartition(":")
    until = time.monotonic() + patience_seconds
    while True:
        try:
            family, kind, _, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind) as way:
                way.connect(target)
                return str(way.getsockname()[0])
        except OSError as error:
            if time.monotonic() > until:
                text = f"no way from here to {endpoint}: {error.strerror or error}"
                raise TkError(text, hint="see --rdzv-endpoint") from error
        time.sleep(1)


def launch(order: Order, nodes: Nodes, *, max_restarts: int, progress: Progress) -> Path:
    """Run `order` in a process for each device of its plan, on this machine those of this node; gives the run folder.

    Raises Stopped on Ctrl-C (a second one ends at once), and what a worker raised as it would in one process.
    """
    processes = order.plan.gpus // nodes.count
    with tempfile.TemporaryDirectory(prefix="tk-run-") as place:
        folder = Path(place)
        order.write(folder)
        with (folder / "torchrun.log").open("wb") as log:
            torchrun = subprocess.Popen(
                command(nodes, processes, max_restarts, folder),
                env=_environment(order, nodes, processes),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C comes here alone, and goes on as a file that all workers look for
                preexec_fn=lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
            )
            code = _watch(torchrun, folder, progress)
        _raise_failure(folder, code)
    return Path(order.recipe.output)


def _watch(torchrun: subprocess.Popen[bytes], folder: Path, progress: Progress) -> int:
    """Pass on events until torchrun ends; gives its exit code."""
    events = Events(folder)

    def stop() -> None:
        (folder / STOP).touch()

    def end() -> None:
        torchrun.terminate()

    try:
        with _signals(stop, end):
            while torchrun.poll() is None:
                for event in events.new():
                    progress(event)
                time.sleep(_POLL_SECONDS)
    finally:
        if torchrun.poll() is None:  # something here failed: leave no orphans
            torchrun.terminate()
            torchrun.wait()
    for event in events.new():
        progress(event)
    return torchrun.returncode


@contextmanager
def _signals(*answers: Callable[[], None]) -> Iterator[None]:
    """While open, the first signal to stop calls the first of `answers`, the next the second, and so on."""
    left = list(answers)

    def answer(number: int, frame: FrameType | None) -> None:
        (left.pop(0) if len(left) > 1 else left[0])()

    before: dict[int, Any] = {number: signal.signal(number, answer) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(order: Order, nodes: Nodes, processes: int) -> dict[str, str]:
    """The workers' environment: their own toolkit, all planned devices in sight, a share of the threads each."""
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    values = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    values.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    values["TORCHELASTIC_ERROR_FILE"] = os.devnull
    if nodes.count > 1 and (interface := _interface_of(nodes.address or own_address(str(nodes.endpoint)))):
        # Left to itself gloo takes the interface that the machine's own name stands for, which is often loopback.
        values.setdefault("GLOO_SOCKET_IFNAME", interface)
    if order.plan.device.kind in ("cuda", "rocm"):
        values.setdefault("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(processes))))
    return values


def _interface_of(address: str) -> str | None:
    """The network interface that has an IPv4 address; None where Linux does not tell."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):
                if socket.inet_ntoa(fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, request)[20:24]) == address:
                    return name
    return None


def _raise_failure(folder: Path, code: int) -> None:
    found: Sequence[dict[str, Any]] = failures(folder)
    stopped = [failure for failure in found if failure["kind"] == "stopped"]
    if code == 0 and not stopped:
        return
    said = (folder / "torchrun.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    again = "a node or process was lost; the same command goes on from the last checkpoint"
    if any("(SIGKILL)" in line for line in said) and not any(failure["kind"] == "known" for failure in found):
        raise TkError("a process was killed from outside, as a system out of main memory does", hint=again)
    if not found:
        last = next((line for line in reversed(said) if "Error" in line), said[-1] if said else f"exit code {code}")
        raise TkError(f"torchrun ended without a word from the workers: {last.strip()}", hint=again)
    first = stopped[0] if stopped else found[0]
    if first["kind"] == "unknown" and os.environ.get("TK_DEBUG", "") not in ("", "0"):
        raise RuntimeError(first["trace"])
    kind = Stopped if stopped else TkError
    who = "" if first["kind"] != "unknown" else f"process {first['rank']}: "
    hint = first["hint"] or ("TK_DEBUG=1 shows where it happened" if first["kind"] == "unknown" else None)
    raise kind(who + first["text"], where=first["where"], hint=hint)
