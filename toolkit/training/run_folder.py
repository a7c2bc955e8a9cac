"""The folder of a run: made, cleared, tied to one recipe, and given copies of the base's licence files."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.files.atomic import unwritable
from toolkit.files.digests import FileDigest, sha256_file, sha256_json
from toolkit.licensing.library import library
from toolkit.models.license_files import kind_of, license_texts
from toolkit.training.checkpoints import discard

if TYPE_CHECKING:
    from toolkit.models.snapshot import Snapshot
    from toolkit.planning.plan import Plan
    from toolkit.planning.recipe import Recipe


def open_run(run: Path, *, overwrite: bool) -> Path:
    """The run folder, made and known to be writable before anything slow begins. Nothing in it is touched yet."""
    if (run / "run.json").exists() and not overwrite:
        raise TkError("already holds a finished run", where=str(run), hint="choose another output, or pass --overwrite")
    try:
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run):
            pass
    except OSError as error:
        raise unwritable(run, error) from error
    return run


def clear(run: Path, *, overwrite: bool) -> None:
    """Make room once the data is known to be good: with `overwrite` of a whole run, else of one killed before its record."""
    if overwrite:
        discard(run)
    for name in ("adapter", "licenses"):
        shutil.rmtree(run / name, ignore_errors=True)


def check_space(run: Path, trainable: int) -> None:
    """Weights are saved in float32, and each checkpoint holds them thrice with Adam's two moments; two are kept."""
    needed = trainable * 4 * (1 + 3 * 3) + 2**26
    free = shutil.disk_usage(run).free
    if free < needed:
        gib = 2**30
        raise TkError(
            f"the disk has {free / gib:.1f} GiB free; checkpoints and adapter need {needed / gib:.1f} GiB",
            where=str(run),
        )


def identity(recipe: Recipe, plan: Plan, base: dict[str, FileDigest], data: str) -> dict[str, str]:
    """What must be equal for a checkpoint to be gone on with, by the name that a message uses."""
    return {
        "recipe": recipe.sha256,
        "plan": sha256_json({name: str(choice.value) for name, choice in plan.choices.items()}),
        "base": sha256_json({name: digest.sha256 for name, digest in base.items()}),
        "data": data,
    }


def copy_licenses(snapshot: Snapshot, verdict: dict[str, Any], run: Path) -> list[dict[str, str]]:
    """Copy the base's licence, notice and policy files into the run, so that a release years later still has them.

    A file is of the licence that its words are; one that nobody recognises is taken for the base's own.
    """
    terms = next((item["id"] for item in verdict["effective_licenses"] if item["from"] == snapshot.id), None)
    terms = terms or next((item["id"] for item in verdict["effective_licenses"] if item["role"] == "model"), "unknown")
    told = {text.path: text.id for text in license_texts(snapshot, library()) if text.id}
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", snapshot.id).strip("-.") or "base"
    copies = []
    for path in snapshot.license_files:
        target = run / "licenses" / slug / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        copies.append(
            {
                "work": snapshot.id,
                "id": told.get(path.name, terms),
                "path": target.relative_to(run).as_posix(),
                "kind": kind_of(path.name),
                "sha256": sha256_file(target),
            }
        )
    return copies
