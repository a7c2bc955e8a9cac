"""The release folder: everything that others receive, assembled beside its place and moved there only when complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import NotFulfilled, Refused, TkError
from toolkit.files.atomic import staged_folder, write_bytes, write_json, write_text
from toolkit.files.digests import sha256_file, sha256_json
from toolkit.release import cyclonedx, provenance, spdx, spdx3
from toolkit.release.card import markdown_card
from toolkit.release.card_html import html_card
from toolkit.release.copies import Copy, copies_of, main_license
from toolkit.release.evaluated import require_gate
from toolkit.release.exported import Exported, read_export
from toolkit.release.facts import Facts, facts_of
from toolkit.release.form import ADAPTER
from toolkit.release.inventory import require_formats, take_inventory
from toolkit.release.notice import render_notice
from toolkit.release.obligations import CARD, NOTICE, Fulfilment, fulfil
from toolkit.release.obligations import FILE as OBLIGATIONS
from toolkit.release.obligations import SCHEMA as OBLIGATIONS_SCHEMA
from toolkit.release.pickles import is_pickle
from toolkit.release.record import Record, at, mapping, read_json, read_record, text
from toolkit.release.verify import verify

_OWN_CARD = "README.md"  # trainers leave one in the adapter folder; ours takes its place


@dataclass(frozen=True, slots=True)
class ReleaseReport:
    """What was released: where, as what, under which terms, with which files, and what was left out and why."""

    folder: Path
    name: str
    license: str
    files: tuple[str, ...]
    copies: tuple[Copy, ...]
    fulfilments: tuple[Fulfilment, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def licenses(self) -> tuple[str, ...]:
        """Ids of the licences whose texts the release carries."""
        return tuple(dict.fromkeys(copy.terms_id for copy in self.copies if copy.kind == "license" and copy.terms_id))

    @property
    def fulfilled(self) -> tuple[str, ...]:
        """One line for each obligation: which it is, and by what or whom it is met."""
        return tuple(f"{item.obligation}: {item.account}" for item in self.fulfilments)

    def to_json(self) -> dict[str, object]:
        return {
            "schema": "tk/release/1",
            "folder": str(self.folder),
            "name": self.name,
            "license": self.license,
            "licenses": list(self.licenses),
            "files": list(self.files),
            "obligations": [
                {"id": item.obligation.id, "license": item.obligation.terms.id, "how": item.how, "by": item.by}
                for item in self.fulfilments
            ],
            "left_out": [{"file": file, "why": why} for file, why in self.left_out],
        }


def release(
    run_folder: Path,
    target: Path,
    *,
    name: str | None,
    attestations: Mapping[str, str],
    license_files: Mapping[str, Path],
    export: Path | None = None,
) -> ReleaseReport:
    """Make the release folder of a finished run at `target`, or leave nothing there: of its adapter, or of the weights
    that `tk export` wrote to the folder `export`.

    `attestations` maps an obligation id to who saw to it and when; `license_files` a licence id to its text, for bases
    that came without one. Raises NotFulfilled naming every open obligation, or the file that is not what the run
    recorded; Refused for a run whose verdict does not carry it; TkError when `target` holds something already.
    """
    require_formats()
    record = read_record(run_folder)
    check_permit(record, run_folder)
    require_gate(record, run_folder)
    exported = read_export(export, record) if export is not None else None
    facts = facts_of(record, name, exported.form if exported else ADAPTER)
    if exported and exported.form.kind == "gguf" and exported.name != facts.name:
        hint = "state use.release.name in the recipe, or release it under that name"
        raise TkError(f"the GGUF says that it is called {exported.name!r}, not {facts.name!r}", hint=hint)
    with staged_folder(target) as staging:
        copies = copies_of(facts, run_folder, license_files)
        fulfilments = fulfil(facts, copies, attestations)
        refuse_open(fulfilments)
        left_out = _copy_export(exported, staging) if exported else _copy_adapter(facts, run_folder, staging)
        _write_papers(facts, copies, fulfilments, staging)
        _write_bills(facts, copies, staging)
        report = verify(staging)
        if not report.ok:  # what is handed over has passed the check that its receivers will run
            raise NotFulfilled("\n".join(map(str, report.problems)), where=str(target))
        files = tuple(sorted(path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file()))
    return ReleaseReport(target, facts.name, facts.terms.hub_key, files, copies, fulfilments, left_out)


def check_permit(record: Record, run_folder: Path) -> None:
    """Raise Refused for a verdict that nobody may release under, NotFulfilled for one that was not permitted."""
    level = str(at(record, "verdict.verdict"))
    where = str(run_folder / "run.json")
    if level in ("prohibited", "needs-separate-license"):
        raise Refused(f"the run's verdict is {level}; nothing may be released under it", exit_code=3, where=where)
    if level == "needs-review" and not text(record, "permit.acknowledged"):
        raise Refused("the run's verdict is needs-review and nobody has answered for it", exit_code=4, where=where)
    digest = text(record, "permit.verdict_sha256")
    if digest and digest != sha256_json(at(record, "verdict")):
        hint = "restore the record that the run wrote, or train again"
        raise NotFulfilled(
            "the verdict in the record is not the one that the permit was given for", where=where, hint=hint
        )


def refuse_open(fulfilments: tuple[Fulfilment, ...]) -> None:
    """Raise NotFulfilled with one line for each obligation that is open: clause, what is owed, what to do next."""
    still_open = [item for item in fulfilments if not item.fulfilled]
    if still_open:
        lines = (f"{item.obligation}: {item.obligation.text or 'owed'}\n    {item.todo}" for item in still_open)
        count = "1 obligation is" if len(still_open) == 1 else f"{len(still_open)} obligations are"
        raise NotFulfilled(f"{count} not fulfilled, so nothing was released:\n" + "\n".join(lines))


def _copy_adapter(facts: Facts, run_folder: Path, staging: Path) -> tuple[tuple[str, str], ...]:
    """Copy the adapter's files, checked against the record; tells which files stay behind and why."""
    recorded = {file: str(at(entry, "sha256")) for file, entry in mapping(facts.record, "adapter.files").items()}
    if not any(file.endswith(".safetensors") for file in recorded):
        raise TkError("the run has no safetensors weights", where=str(run_folder / "adapter"), hint="train again")
    left_out = []
    for file, digest in recorded.items():
        source, name = run_folder / file, file.removeprefix("adapter/")
        if not source.is_file():
            raise NotFulfilled(
                "the run recorded this file and it is gone", where=str(source), hint="restore the run folder"
            )
        if sha256_file(source) != digest:
            raise NotFulfilled(
                "this file was changed after the run", where=str(source), hint="restore it, or train again"
            )
        if is_pickle(name):
            left_out.append((file, "can run code when it is loaded"))
        elif name == _OWN_CARD:
            left_out.append((file, "the release has a card of its own"))
        elif name == "adapter_config.json":
            write_text(staging / name, _public_config(facts, source))
        else:
            write_bytes(staging / name, source.read_bytes())
    here = (run_folder / "adapter").rglob("*")
    extra = sorted(path.relative_to(run_folder).as_posix() for path in here if path.is_file())
    left_out += [(file, "the run did not record it") for file in extra if file not in recorded]
    return tuple(left_out)


def _copy_export(exported: Exported, staging: Path) -> tuple[tuple[str, str], ...]:
    """Copy exported weights with their configuration and tokenizer; the papers are made anew."""
    left_out = []
    for name in exported.files:
        if is_pickle(name):
            left_out.append((name, "can run code when it is loaded"))
            continue
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(exported.folder / name, staging / name)  # many gigabytes: never whole in memory
    return tuple(left_out)


def _public_config(facts: Facts, source: Path) -> str:
    """PEFT's configuration with the base that others can load, at the revision trained on; all else as it was."""
    config = read_json(source)
    if not isinstance(config, dict):
        raise TkError("is not a PEFT configuration", where=str(source))
    config["base_model_name_or_path"] = facts.base.name
    if facts.base.is_hub and facts.base.revision and "revision" in config:
        config["revision"] = facts.base.revision
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


def _write_papers(facts: Facts, copies: tuple[Copy, ...], fulfilments: tuple[Fulfilment, ...], staging: Path) -> None:
    """What people read: licence texts, NOTICE, the card twice, and how each obligation was met."""
    for copy in copies:
        write_bytes(staging / copy.path, copy.content)
    if (main := main_license(facts, copies)) is not None:
        write_bytes(staging / "LICENSE", main.content)
    write_text(staging / NOTICE, render_notice(facts, copies))
    write_text(staging / CARD, markdown_card(facts, fulfilments))
    write_text(staging / "card.html", html_card(facts, fulfilments))
    evidence = {file for item in fulfilments for file in item.evidence}
    digests = {file: sha256_file(staging / file) for file in evidence}
    paper = {
        "schema": OBLIGATIONS_SCHEMA,
        "release": facts.name,
        "license": facts.terms.hub_key,
        "verdict": at(facts.record, "verdict.verdict"),
        "acknowledged": text(facts.record, "permit.acknowledged"),
        "obligations": [item.to_json(digests) for item in fulfilments],
    }
    write_json(staging / OBLIGATIONS, paper)


def _write_bills(facts: Facts, copies: tuple[Copy, ...], staging: Path) -> None:
    """What machines read: the three bills of materials over the files so far, then the provenance of every file."""
    inventory = take_inventory(facts, staging, copies)
    bills = {
        spdx.FILE: spdx.make_spdx(inventory),
        spdx3.FILE: spdx3.make_spdx3(inventory),
        cyclonedx.FILE: cyclonedx.make_cyclonedx(inventory),
    }
    for file, document in bills.items():
        write_json(staging / file, document)
    digests = {name: digest.sha256 for name, digest in inventory.files.items()}
    digests |= {file: sha256_file(staging / file) for file in bills}
    write_json(staging / provenance.FILE, provenance.seal(provenance.make_provenance(facts, digests)))
