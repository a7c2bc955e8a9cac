"""Registries of models for the tests of audits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Make a model folder below `registry/`: `model("acme/a", "license: mit", adapter_config={…})`."""

    def make(name: str, front: str | None = None, **configs: object) -> Path:
        folder = tmp_path / "registry" / name
        folder.mkdir(parents=True, exist_ok=True)
        if front is not None:
            (folder / "README.md").write_text(f"---\n{front}\n---\n# Model\n")
        for config, value in configs.items():
            (folder / f"{config}.json").write_text(json.dumps(value))
        return folder

    return make
