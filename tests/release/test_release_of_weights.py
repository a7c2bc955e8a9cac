"""A release of exported weights: its papers say that the base's weights are handed on, and how they were changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.release.runs import ATTESTED, apache_run, llama_run
from toolkit.errors import NotFulfilled, TkError
from toolkit.files.digests import digest_folder, sha256_json
from toolkit.release.bundle import release
from toolkit.release.record import read_record
from toolkit.release.verify import verify


def export_of(run: Path, folder: Path, kind: str = "merged", name: str = "Llama-Acme-8B") -> Path:
    """What `tk export` leaves, made by hand."""
    files = {
        "merged": {"model.safetensors": b"weights", "config.json": b"{}", "tokenizer.json": b"{}"},
        "gguf": {f"{name}-Q8_0.gguf": b"GGUF weights"},
    }[kind]
    for file, content in {**files, "LICENSE": b"as exported", "NOTICE": b"as exported"}.items():
        folder.mkdir(exist_ok=True)
        (folder / file).write_bytes(content)
    record = read_record(run)
    paper: dict[str, Any] = {
        "schema": "tk/export/1",
        "kind": kind,
        "run": {"id": record["id"], "record_sha256": sha256_json(record), "name": name},
        "method": {
            "merge": "dequantised", "dtype": "bfloat16", "quantization": "q8_0" if kind == "gguf" else None,
        },
        "comparison": {"kl": {"mean": 0.0012}},
        "papers": [{"path": "LICENSE"}, {"path": "NOTICE"}],
        "files": {file: digest.to_json() for file, digest in digest_folder(folder).items()},
    }  # fmt: skip
    (folder / "export.json").write_text(json.dumps(paper))
    return folder


def released(run: Path, target: Path, export: Path, name: str | None = None) -> Path:
    attested = ATTESTED if "llama" in str(read_record(run)["base"]["id"]) else {}  # type: ignore[index]
    release(run, target, name=name, attestations=attested, license_files={}, export=export)
    return target


def test_every_paper_says_that_weights_are_handed_on(tmp_path: Path) -> None:
    run = llama_run(tmp_path / "run")
    folder = released(run, tmp_path / "release", export_of(run, tmp_path / "export"))
    assert verify(folder).ok, verify(folder).problems
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert not (folder / "adapter_config.json").exists()
    card = (folder / "README.md").read_text()
    assert "base_model_relation: finetune" in card
    assert "library_name: transformers" in card
    assert "adapter merged into its weights" in card
    assert "0.0012 nats a token" in card
    assert 'AutoModelForCausalLM.from_pretrained(".", dtype="auto")' in card
    assert "holds for this model as well" in card
    assert "Built with Llama" in card
    notice = (folder / "NOTICE").read_text()
    assert "this is meta-llama/Llama-3.1-8B (revision" in notice
    assert "had been quantised for training and were dequantised" in notice
    statement = json.loads((folder / "provenance.intoto.json").read_text())
    parameters = statement["predicate"]["buildDefinition"]["internalParameters"]["release"]
    assert parameters["form"] == "merged"
    assert parameters["merging"]["kl"] == 0.0012
    dependencies = {entry["name"] for entry in statement["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert "adapter/adapter_model.safetensors" in dependencies
    spdx = json.loads((folder / "sbom.spdx.json").read_text())
    assert any("merged into it" in str(entry.get("comment")) for entry in spdx["relationships"])
    cyclonedx = json.loads((folder / "aibom.cdx.json").read_text())["metadata"]["component"]
    assert "merged into its weights" in cyclonedx["pedigree"]["notes"]
    assert (folder / "LICENSE").read_text() != "as exported"


def test_a_gguf_is_released_with_its_papers(tmp_path: Path) -> None:
    run = llama_run(tmp_path / "run")
    folder = released(run, tmp_path / "release", export_of(run, tmp_path / "export", "gguf"))
    assert verify(folder).ok, verify(folder).problems
    card = (folder / "README.md").read_text()
    assert "as GGUF (q8_0)" in card
    assert "llama-server" in card


def test_a_gguf_is_not_released_under_a_name_that_it_does_not_say(tmp_path: Path) -> None:
    run = llama_run(tmp_path / "run")
    export = export_of(run, tmp_path / "export", "gguf")
    with pytest.raises(TkError, match="says that it is called 'Llama-Acme-8B', not 'Llama-Other'"):
        released(run, tmp_path / "release", export, name="Llama-Other")


def test_an_export_of_another_run_is_refused(tmp_path: Path) -> None:
    export = export_of(llama_run(tmp_path / "run"), tmp_path / "export")
    other = apache_run(tmp_path / "other")
    with pytest.raises(TkError, match="was made from the run run-1, not from"):
        released(other, tmp_path / "release", export)
    with pytest.raises(TkError, match=r"not an export: it has no export\.json"):
        released(other, tmp_path / "release", other)


def test_weights_that_were_changed_after_the_export_are_refused(tmp_path: Path) -> None:
    run = llama_run(tmp_path / "run")
    export = export_of(run, tmp_path / "export")
    (export / "model.safetensors").write_bytes(b"others")
    with pytest.raises(NotFulfilled, match="changed after the export"):
        released(run, tmp_path / "release", export)
    assert not (tmp_path / "release").exists()


def test_obligations_of_the_run_hold_for_weights_as_well(tmp_path: Path) -> None:
    run = llama_run(tmp_path / "run")
    export = export_of(run, tmp_path / "export")
    with pytest.raises(NotFulfilled, match="aup"):
        release(run, tmp_path / "release", name=None, attestations={}, license_files={}, export=export)


def test_a_merged_release_without_its_configuration_is_no_release(tmp_path: Path) -> None:
    run = llama_run(tmp_path / "run")
    folder = released(run, tmp_path / "release", export_of(run, tmp_path / "export"))
    (folder / "config.json").unlink()
    assert "config.json: is missing" in map(str, verify(folder).problems)
