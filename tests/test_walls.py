"""The house has walls: imports point one way, and a licence check stays light."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = ["errors", "files", "licensing", "models", "audit", "planning", "release", "training", "cli"]
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "pydantic", "spdx_tools", "huggingface_hub", "bitsandbytes",
         "accelerate", "numpy", "rich", "jinja2", "polars"}  # fmt: skip
FILES = sorted((ROOT / "toolkit").rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "toolkit").parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, whether it is imported when the file is) of every import in a file."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test))
        for node in ast.walk(outer)
    }
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [(name, id(node) not in inside) for name in names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    room = room_of(path)
    for module, _ in imports(path):
        if module.startswith("toolkit.") and room in ORDER:
            other = module.split(".")[1]
            assert ORDER.index(other) <= ORDER.index(room), f"{room} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_heavy_modules_are_imported_inside_functions(path):
    assert not [module for module, at_top in imports(path) if at_top and module.split(".")[0] in HEAVY]


@pytest.mark.parametrize(
    "arguments",
    [
        ["license-check", "Qwen/Qwen2.5-7B-Instruct", "--distribution", "internal", "--commercial", "--offline"],
        ["license-check", "embedded:qwen2", "--distribution", "weights", "--commercial"],
        ["plan", "recipes/qwen-lora.yaml", "--gpu", "24GiB", "--offline"],
        ["--help"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_check_and_a_plan_stay_light(arguments):
    script = (
        "import sys, json, atexit, runpy\n"
        f"atexit.register(lambda: print(json.dumps(sorted({HEAVY!r} & set(sys.modules))), file=sys.stderr))\n"
        f"sys.argv = ['tk', *{arguments!r}]\n"
        "runpy.run_module('toolkit', run_name='__main__')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == []


def test_only_the_command_line_prints():
    printing = []
    for path in FILES:
        if room_of(path) == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                printing.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert printing == []


def test_no_file_is_too_long_to_read_in_one_sitting():
    long = {path.relative_to(ROOT).as_posix() for path in FILES if len(path.read_text().splitlines()) > 400}
    assert long == set()
