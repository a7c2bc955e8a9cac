"""On a real terminal `tk license-check` asks for what decides; anywhere else it never does."""

import os
import pty
import subprocess
import sys
import time

import pytest
import yaml

CHECK = [sys.executable, "-m", "toolkit", "license-check", "Qwen/Qwen2.5-3B", "--offline"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def on_a_terminal(arguments, answers, cwd):
    """Run on a pseudo-terminal, answering each prompt in turn; gives (exit code, everything shown)."""
    leader, follower = pty.openpty()
    env = {**os.environ, "PYTHONPATH": ROOT, "HF_HUB_CACHE": str(cwd / "hub"), "TERM": "dumb", "COLUMNS": "100"}
    process = subprocess.Popen(
        [*CHECK, *arguments], cwd=cwd, env=env, stdin=follower, stdout=follower, stderr=follower, close_fds=True
    )
    os.close(follower)
    shown, waiting, deadline = b"", list(answers), time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            part = os.read(leader, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
        if waiting and waiting[0][0] in shown.decode(errors="replace"):
            os.write(leader, f"{waiting.pop(0)[1]}\n".encode())
    os.close(leader)
    return process.wait(10), shown.decode(errors="replace")


def test_a_missing_fact_is_asked_for_and_the_answer_decides(tmp_path):
    answers = [("Who gets what", "internal"), ("used commercially", "y"), ("Save these facts", "")]
    code, shown = on_a_terminal([], answers, tmp_path)
    assert code == 3, shown
    assert "needs a separate licence" in shown


def test_the_answers_can_be_kept_as_a_use_file(tmp_path):
    answers = [("used commercially", "no"), ("Save these facts", "use.yaml")]
    code, shown = on_a_terminal(["--distribution", "internal"], answers, tmp_path)
    assert code == 0, shown
    assert yaml.safe_load((tmp_path / "use.yaml").read_text()) == {"commercial": False, "distribution": "internal"}


def test_an_answer_that_makes_no_sense_is_asked_again(tmp_path):
    answers = [("used commercially", "perhaps"), ("answer y or n", "n"), ("Save these facts", "")]
    assert on_a_terminal(["--distribution", "internal"], answers, tmp_path)[0] == 0


def test_an_empty_answer_leaves_the_fact_open(tmp_path):
    code, shown = on_a_terminal(["--distribution", "internal"], [("used commercially", "")], tmp_path)
    assert code == 4, shown
    assert "Save these facts" not in shown


@pytest.mark.parametrize("arguments", [[], ["--format", "json"]])
def test_nothing_is_asked_where_nobody_sits(tmp_path, arguments):
    env = {**os.environ, "PYTHONPATH": ROOT, "HF_HUB_CACHE": str(tmp_path / "hub")}
    done = subprocess.run([*CHECK, *arguments], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 4
    assert done.stderr == b""


def test_a_machine_format_is_never_interrupted_by_questions(tmp_path):
    code, shown = on_a_terminal(["--format", "json"], [], tmp_path)
    assert code == 4
    assert "Save these facts" not in shown
