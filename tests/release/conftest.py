"""Runs and releases that the tests of this room start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.release.runs import ATTESTED, apache_run, llama_run
from toolkit.release.bundle import release


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both runs and their releases, made once; tests copy what they damage."""
    top = tmp_path_factory.mktemp("made")
    release(apache_run(top / "apache-run"), top / "apache", name=None, attestations={}, license_files={})
    release(llama_run(top / "llama-run"), top / "llama", name=None, attestations=ATTESTED, license_files={})
    return top


@pytest.fixture
def llama_release(made_once: Path, tmp_path: Path) -> Path:
    """A release of the Llama run of the test's own."""
    return Path(shutil.copytree(made_once / "llama", tmp_path / "llama"))


@pytest.fixture
def apache_release(made_once: Path, tmp_path: Path) -> Path:
    """A release of the Apache run of the test's own."""
    return Path(shutil.copytree(made_once / "apache", tmp_path / "apache"))
