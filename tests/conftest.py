"""What several rooms' tests share: running `tk` as a person would, and a hub on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Caches of the session's own, so that no test sees what lies in the user's."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True, scope="session")
def _apart_from_the_user(own_cache: Path) -> None:
    os.environ["TK_CACHE"] = str(own_cache / "tk")
    os.environ["HF_HOME"] = str(own_cache / "huggingface")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tk(own_cache: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `tk` in a process of its own: `tk("plan", "x.yaml", cwd=…, env={…})`. A variable set to None is removed."""

    def run(*arguments: object, cwd: Path = ROOT, env: dict[str, str | None] | None = None, input: str | None = None):
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **(env or {})}
        variables = {name: value for name, value in variables.items() if value is not None}
        command = [sys.executable, "-m", "toolkit", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=variables, input=input, capture_output=True, text=True, timeout=600)

    return run
