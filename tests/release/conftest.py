"""Runs and releases that the tests of this room start from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.runs import ATTESTED, apache_run, llama_run
from toolkit.release import copies, obligations, owed
from toolkit.release.bundle import release
from toolkit.release.texts import text_problem


@pytest.fixture(scope="session", autouse=True)
def stand_ins_for_texts() -> Iterator[None]:
    """Texts of others are not shipped, so a few words stand for them here; `test_texts.py` has real ones."""

    def problem(terms_id: str, content: bytes) -> str | None:
        return None if len(content) < 200 else text_problem(terms_id, content)

    with pytest.MonkeyPatch.context() as patch:
        for module in (copies, obligations, owed):
            patch.setattr(module, "text_problem", problem)
        yield


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
