"""Documentation runs: the console blocks of every page in docs/ print what the page says."""

import doctest
import os
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.test_readme import CHECKER, FLAGS, ROOT, console_blocks

PAGES = {page: console_blocks(page.read_text()) for page in sorted((ROOT / "docs").glob("*.md"))}
BLOCKS = [(page.name, command, output) for page, blocks in PAGES.items() for command, output in blocks]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.mark.parametrize(
    ("page", "command", "output"), BLOCKS, ids=[f"{page}: {command}" for page, command, _ in BLOCKS]
)
def test_a_command_of_the_documentation_prints_what_the_page_says(place, page, command, output):
    words = shlex.split(command)
    assert words[0] == "tk", f"{page} types {command!r}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "HF_HUB_CACHE": str(place / "hub")}
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", *words[1:]], cwd=place, env=env, capture_output=True, text=True
    )
    got = done.stdout if done.stdout.strip() else done.stderr
    example = doctest.Example(command, output + "\n")
    assert CHECKER.check_output(output + "\n", got.strip() + "\n", FLAGS), CHECKER.output_difference(
        example, got, FLAGS
    )
