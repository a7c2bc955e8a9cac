"""Every command has help with runnable examples, a JSON format, and stands in the reference."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from toolkit.cli.main import COMMANDS, tk

ROOT = Path(__file__).resolve().parent.parent.parent


def leaves():
    for name in COMMANDS:
        command = tk.get_command(click.Context(tk), name)
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        for leaf in inner:
            yield (f"{name} {leaf.name}" if leaf is not command else name), leaf


@pytest.mark.parametrize(("name", "command"), list(leaves()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_command_has_help_with_two_examples_and_json(name, command):
    assert command.help
    examples = [line for line in command.help.splitlines() if line.strip().startswith(f"tk {name.split()[0]}")]
    assert len(examples) >= 2, command.help
    formats = next(option for option in command.params if "--format" in option.opts)
    assert {"text", "json"} <= set(formats.type.choices)


def test_an_example_in_the_help_names_options_that_exist():
    for _, command in leaves():
        known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        for line in command.help.splitlines():
            if line.strip().startswith("tk "):
                used = {word.partition("=")[0] for word in line.split() if word.startswith("--")}
                assert used <= known, line


def test_the_reference_and_the_schemas_are_current():
    done = subprocess.run(
        [sys.executable, "docs/make.py", "--check"], cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(tk):
    done = tk("licence-check", "x")
    assert done.returncode == 2
    assert "did you mean 'license-check'?" in done.stderr


def test_a_defect_shows_one_sentence_and_a_traceback_only_when_asked(tk, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import toolkit.planning.recipe as r\ndef load_recipe(*_): raise RuntimeError('boom')\nr.load_recipe = load_recipe\n"
    )
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    quiet = tk("plan", "recipes/qwen-lora.yaml", env=env)
    loud = tk("plan", "recipes/qwen-lora.yaml", env={**env, "TK_DEBUG": "1"})
    assert quiet.returncode == 1
    assert "RuntimeError: boom" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr
