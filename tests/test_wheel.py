"""What is installed is whole: a wheel built from the checkout works from another folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere with spaces")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True)
    return folder


def run(installed, *arguments, cwd):
    env = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "toolkit", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


def test_the_wheel_carries_licenses_recipes_and_the_embedded_bases(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "licenses").glob("*.yaml"):
        assert f"toolkit/shipped/licenses/{path.name}" in names
    for path in (ROOT / "recipes").rglob("*.yaml"):
        assert f"toolkit/shipped/recipes/{path.relative_to(ROOT / 'recipes').as_posix()}" in names
    assert "toolkit/models/embedded/qwen2/model.safetensors" in names
    assert "toolkit/shipped/examples/support.jsonl" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]


def test_a_license_check_runs_from_the_installed_wheel(installed, tmp_path):
    use = ("--distribution", "internal", "--commercial", "--format", "json")
    done = run(installed, "license-check", "embedded:qwen2", *use, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "allowed"


def test_a_shipped_recipe_plans_from_the_installed_wheel(installed, tmp_path):
    done = run(installed, "plan", "recipes/embedded-qwen-lora.yaml", "--gpu", "cpu", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["base"] == "embedded:qwen2"
