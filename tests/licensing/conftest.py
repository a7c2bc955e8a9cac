"""Invented licences, so that the reasoning is tested apart from what any real text says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toolkit.files.shipped import shipped
from toolkit.licensing.library import Library

INVENTED = Path(__file__).parent / "invented"


@pytest.fixture(scope="session")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library of the invented licences, with the shipped vocabulary."""
    folder = tmp_path_factory.mktemp("licenses")
    shutil.copyfile(shipped("licenses") / "vocabulary.yaml", folder / "vocabulary.yaml")
    for path in INVENTED.glob("*.yaml"):
        shutil.copyfile(path, folder / path.name)
    return Library(folder)
