"""`tk export` and `tk chat` from the outside: what bad input comes to, and a conversation on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.release.runs import apache_run
from toolkit.cli.conversation import converse
from toolkit.errors import TkError
from toolkit.training.chat import Sampling

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say one of --merge, --gguf, --vllm"),
        (["--merge", "--gguf"], "--gguf merges by itself"),
        (["--merge", "--quantize", "q8_0"], "--quantize goes with --gguf"),
        (["--vllm", "--faithful"], "--faithful with --merge or --gguf"),
        (["--gguf", "--quantize", "q4_k"], "'q4_k' is not one of"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(tk, tmp_path, arguments, words):
    done = tk("export", apache_run(tmp_path / "run"), *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_run_that_does_not_exist_or_is_not_finished_is_said_so(tk, tmp_path):
    done = tk("export", tmp_path / "none", "--merge")
    assert done.returncode == 1
    assert "no such run folder" in done.stderr
    (tmp_path / "begun").mkdir()
    done = tk("export", tmp_path / "begun", "--merge")
    assert done.returncode == 1
    assert "not a finished run" in done.stderr


def test_a_verdict_that_prohibits_is_the_end_of_it(tk, tmp_path):
    run = apache_run(tmp_path / "run", verdict={"verdict": "prohibited"})
    done = tk("export", run, "--merge")
    assert done.returncode == 3, done.stderr
    assert not (run / "merged").exists()


def test_a_folder_that_holds_something_is_left_alone(tk, tmp_path):
    run = apache_run(tmp_path / "run")
    (run / "merged").mkdir()
    (run / "merged" / "mine").write_text("mine")
    done = tk("export", run, "--merge")
    assert done.returncode == 1
    assert "pass --overwrite" in done.stderr
    assert (run / "merged" / "mine").read_text() == "mine"


def test_sampling_options_without_a_temperature_are_a_usage_error(tk, tmp_path):
    done = tk("chat", tmp_path, "--seed", "3", "--prompt", "x")
    assert done.returncode == 2
    assert "add --temperature" in done.stderr


@pytest.fixture(scope="module")
def run(tk, tmp_path_factory) -> Path:
    """A run on the embedded base, one step long."""
    place = tmp_path_factory.mktemp("chat")
    done = tk(
        "finetune", ROOT / "recipes" / "embedded-qwen-lora.yaml", "--set", "train.max_steps=1",
        "--set", "evaluate.generate=0", "--set", f"output={place / 'run'}", "--offline", cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place / "run"


class Terminal:
    """A `tk chat` on a pseudo-terminal."""

    def __init__(self, run: Path, *arguments: str) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.environ.update(PYTHONPATH=str(ROOT), HF_HUB_OFFLINE="1", TERM="dumb")
            os.execv(sys.executable, [sys.executable, "-m", "toolkit", "chat", str(run), *arguments])

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def until(self, words: str, seconds: float = 120) -> str:
        """What is shown up to `words`, and these."""
        shown, end = "", time.monotonic() + seconds
        while words not in shown:
            assert time.monotonic() < end, shown
            if select.select([self.descriptor], [], [], 0.1)[0]:
                try:
                    shown += os.read(self.descriptor, 4096).decode(errors="replace")
                except OSError as error:  # the other end is closed
                    raise AssertionError(shown) from error
        return shown

    def ends(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(run) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def make(*arguments: str) -> Terminal:
        opened.append(Terminal(run, *arguments))
        return opened[-1]

    yield make
    for one in opened:
        os.close(one.descriptor)


def test_a_conversation_switches_stops_and_ends(terminal):
    chat = terminal("--max-new-tokens", "2000", "--temperature", "8", "--seed", "1")
    chat.until("you> ")
    chat.type("/base\n")
    assert "Now the base alone." in chat.until("you> ")
    chat.type("/again\n")
    assert "Nothing was asked yet." in chat.until("you> ")
    # At this temperature an answer is noise that does not end by itself; words come before it is over.
    chat.type("Hello there\n")
    chat.until("base> ")
    time.sleep(0.5)
    os.kill(chat.pid, signal.SIGINT)
    assert "… stopped" in chat.until("you> ")
    chat.type("/adapter\n")
    chat.until("you> ")
    chat.type("/nope\n")
    assert "There is no /nope" in chat.until("you> ")
    chat.type("\x04")
    assert chat.ends() == 0


class Echo:
    """Stands in for a model: remembers what it was asked with, and answers with how many messages there were."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], bool]] = []

    def reply(self, messages, sampling, *, adapter, on_text):
        self.asked.append(([message["content"] for message in messages], adapter))
        if messages[-1]["content"] == "too long":
            raise TkError("the conversation has 9 tokens and the base takes 8", hint="begin a new one: /reset")
        on_text(f"answer {len(messages)}")
        if messages[-1]["content"] == "stop":
            raise KeyboardInterrupt
        return f"answer {len(messages)}"


def test_a_conversation_remembers_what_was_said(monkeypatch, capsys):
    typed = iter(["one", "two", "/base", "/again", "too long", "stop", "three", "/reset", "four", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    echo = Echo()
    converse(echo, Sampling(), [{"role": "system", "content": "brief"}], adapter=True)
    assert echo.asked == [
        (["brief", "one"], True),
        (["brief", "one", "answer 2", "two"], True),
        (["brief", "one", "answer 2", "two"], False),
        (["brief", "one", "answer 2", "two", "answer 4", "too long"], False),
        (["brief", "one", "answer 2", "two", "answer 4", "stop"], False),  # what could not be asked is forgotten
        (["brief", "one", "answer 2", "two", "answer 4", "stop", "answer 6", "three"], False),  # what was shown is not
        (["brief", "four"], False),
    ]
    assert "Next: begin a new one: /reset" in capsys.readouterr().err
