"""Documentation runs: every console block of the README is executed, and prints what it says it prints.

In a block, `$ ` begins a command and what follows is its output; `...` stands for anything. Commands run one after the
other in one folder that holds the recipes and examples, so the blocks are the journey itself, and what it leaves behind
is looked at afterwards. Figures that a training measures differ from machine to machine; there the words are compared,
and the figures that matter are bounded below.
"""

import doctest
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHECKER = doctest.OutputChecker()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def console_blocks(text):
    """[(command, expected output)] of every console block, in order."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command.strip(), output.strip()))
    return found


COMMANDS = console_blocks((ROOT / "README.md").read_text())
MADE_BY_MAKE = [(command, output) for command, output in COMMANDS if command.startswith("make ")]
TYPED = [(command, output) for command, output in COMMANDS if not command.startswith("make ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as a newcomer's checkout looks, with a space in its path."""
    folder = tmp_path_factory.mktemp("a new comer") / "check out"
    folder.mkdir()
    for name in ("recipes", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def transcript(place):
    """What each typed command did, run in order: {command: (exit code, stdout, stderr)}."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "OMP_NUM_THREADS": str(os.cpu_count() or 1)}
    done = {}
    for command, _ in TYPED:
        words = shlex.split(command)
        assert words[0] == "tk", f"a console block types {command!r}"
        ran = subprocess.run(
            [sys.executable, "-m", "toolkit", *words[1:]], cwd=place, env=env, capture_output=True, text=True
        )
        done[command] = (ran.returncode, ran.stdout, ran.stderr)
    return done


@pytest.mark.parametrize(("command", "output"), TYPED, ids=[command for command, _ in TYPED])
def test_a_command_of_the_readme_prints_what_the_readme_says(transcript, command, output):
    code, stdout, stderr = transcript[command]
    got = stdout if stdout.strip() else stderr
    if command.startswith("tk finetune"):
        got, output = (re.sub(r"\d[\d,.]*", "#", text) for text in (got, output))
    example = doctest.Example(command, output + "\n")
    assert CHECKER.check_output(output + "\n", got.strip() + "\n", FLAGS), CHECKER.output_difference(
        example, got, FLAGS
    )
    assert code in (0, 3, 4, 5), stderr


@pytest.fixture(scope="module")
def record(transcript, place):
    return json.loads((place / "runs" / "embedded-qwen-lora" / "run.json").read_text())


def test_fine_tuning_has_a_real_effect(record):
    before, after = record["evaluation"]["before"], record["evaluation"]["after"]
    assert after["loss"] <= 0.7 * before["loss"]
    assert before["exact_match"] < 0.10
    assert after["exact_match"] >= 0.80


def test_one_changed_byte_is_named(transcript, place, tk):
    release = next((place / "releases").iterdir())
    edited = place / "edited"
    shutil.copytree(release, edited)
    adapter = edited / "adapter_model.safetensors"
    content = bytearray(adapter.read_bytes())
    content[len(content) // 2] ^= 1
    adapter.write_bytes(bytes(content))
    done = tk("verify", edited)
    assert done.returncode == 5
    assert "adapter_model.safetensors" in done.stdout


def test_plain_peft_answers_as_tk_chat_does(transcript, place, record, tk):
    """In a process without the toolkit: the base's folder, the run's adapter, transformers' generate."""
    from toolkit.models.embedded_bases import folder_with_weights

    prompt = record["evaluation"]["samples"][0]["prompt"]
    script = """
import sys
sys.modules["toolkit"] = None
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter, prompt = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(adapter)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="float32"), adapter)
inputs = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True,
                                       return_tensors="pt", return_dict=True)
ids = model.generate(**inputs, max_new_tokens=48, do_sample=False)
print(tokenizer.decode(ids[0][inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""
    run = place / "runs" / "embedded-qwen-lora"
    command = [sys.executable, "-c", script, str(folder_with_weights("qwen2")), str(run / "adapter"), prompt]
    plain = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert plain.returncode == 0, plain.stderr
    ours = tk("chat", run, "--prompt", prompt, "--max-new-tokens", "48")
    assert ours.stdout == plain.stdout
    assert ours.stdout.strip()


@pytest.mark.slow
def test_the_two_commands_work_on_a_fresh_clone(tmp_path):
    """`make demo` and `make test` in a clone below a path with spaces, with nothing installed by hand."""
    clone = tmp_path / "fresh clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("TK_", "HF_", "OMP_", "PYTHONPATH"))
    }
    for command, output in MADE_BY_MAKE:
        done = subprocess.run(shlex.split(command), cwd=clone, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        last = done.stdout.strip().splitlines()[-1]
        assert CHECKER.check_output(output.splitlines()[-1] + "\n", last + "\n", FLAGS), last
