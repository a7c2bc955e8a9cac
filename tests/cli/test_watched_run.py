"""Whole runs of `tk finetune` from the outside: no socket, exit codes of requirements, and what a terminal shows."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SHORT = ["--set", "train.max_steps=2", "--set", "evaluate.generate=2", "--set", "evaluate.max_new_tokens=4"]

# The audit hook names who asked; the filter of the kernel also sees what does not go through Python (Rust, C), and kills.
GUARD = """
import ctypes, os, platform, struct, sys
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind"):
        if event == "socket.getaddrinfo" or not isinstance(arguments[1], (str, bytes)):
            with open(os.environ["SOCKETS"], "a") as file:
                file.write(f"{event} {arguments[1:]}\\n")
sys.addaudithook(hook)
NUMBER = {"x86_64": 41, "aarch64": 198}[platform.machine()]  # of the system call `socket`
AF_INET, AF_INET6 = 2, 10
steps = [  # struct seccomp_data: the number of the call at 0, its first argument at 16
    (0x20, 0, 0, 0), (0x15, 0, 4, NUMBER), (0x20, 0, 0, 16), (0x15, 1, 0, AF_INET), (0x15, 0, 1, AF_INET6),
    (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7FFF0000),
]
program = b"".join(struct.pack("HBBI", *step) for step in steps)
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
buffer = ctypes.create_string_buffer(program)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(len(steps), ctypes.addressof(buffer))), 0, 0) == 0
"""


@pytest.fixture
def guarded(tmp_path):
    """An environment in which a process that opens an internet socket is killed."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    return {**os.environ, "PYTHONPATH": f"{tmp_path / 'guard'}:{ROOT}", "SOCKETS": str(tmp_path / "sockets")}


@pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
def test_the_guard_kills_who_opens_an_internet_socket(guarded):
    code = "import socket; socket.socket({}); print('opened')"
    for family, killed in (("socket.AF_INET", True), ("socket.AF_INET6", True), ("socket.AF_UNIX", False)):
        done = subprocess.run([sys.executable, "-c", code.format(family)], env=guarded, capture_output=True, text=True)
        assert (done.returncode == -signal.SIGSYS) is killed
        assert ("opened" in done.stdout) is not killed


@pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
def test_an_offline_run_opens_no_internet_socket_and_a_requirement_that_is_not_met_ends_it_with_1(guarded, tmp_path):
    guarded.pop("HF_HUB_OFFLINE", None)  # the run says it itself
    recipe = [str(ROOT / "recipes" / "embedded-qwen-lora.yaml"), "--gpu", "cpu", "--offline", *SHORT]
    asked = [
        "--set",
        "track=[tensorboard, trackio]",
        "--set",
        "evaluate.require.loss=<= 0.5 * base",
        "--format",
        "json",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", "finetune", *recipe, *asked],
        cwd=tmp_path, env=guarded, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert not (tmp_path / "sockets").exists(), (tmp_path / "sockets").read_text()
    assert done.returncode == 1, done.stderr
    assert re.search(
        r"Error: the run does not meet what its recipe requires: loss [\d.]+, required <= 0.5 \* base \([\d.]+\)",
        done.stderr,
    )
    record = json.loads(done.stdout)
    assert record["evaluation"]["gate"]["passed"] is False
    assert "\x1b" not in done.stderr  # plain lines when piped
    assert re.search(r"train  2/2  loss [\d.]+  learning rate", done.stderr)


def test_a_terminal_shows_the_run_and_is_left_clean_by_ctrl_c(tmp_path):
    """Ctrl-C in the middle of training: a word at once, a checkpoint, and the cursor back."""
    command = [
        sys.executable, "-m", "toolkit", "finetune", str(ROOT / "recipes" / "embedded-qwen-lora.yaml"), "--gpu", "cpu",
        "--offline", "--set", "evaluate.fraction=0", "--set", f"output={tmp_path / 'run'}",
    ]  # fmt: skip
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(PYTHONPATH=str(ROOT), TERM="xterm-256color", COLUMNS="100")
        os.execv(sys.executable, command)
    seen, asked, end = b"", False, time.monotonic() + 120
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # the other side is gone
            break
        if not asked and re.search(rb" [3-9]/189 ", seen):
            os.write(terminal, b"\x03")
            asked = True
    else:
        os.kill(process, signal.SIGKILL)  # it would otherwise be waited for in vain
    _, status = os.waitpid(process, 0)
    text = seen.decode(errors="replace")
    assert os.waitstatus_to_exitcode(status) == 1, text[-2000:]
    for words in ("tokens/s", "planned", "left", "▁", "stopped after step"):
        assert words in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor was hidden, and is shown again
    after = text.rpartition("\x1b[?25h")[2]
    assert "━" not in after
    assert (tmp_path / "run" / "checkpoints").is_dir()
