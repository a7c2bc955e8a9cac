"""Verifying a release: every kind of damage is found, and named by its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import TkError
from toolkit.files.atomic import json_text
from toolkit.files.digests import sha256_file
from toolkit.release.provenance import seal
from toolkit.release.verify import verify


def files_with_problems(folder: Path) -> set[str]:
    return {problem.file for problem in verify(folder).problems}


def change_json(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value, indent=2) + "\n")


def forge(folder: Path, change: Callable[[Any], object]) -> None:
    """Change the provenance and give it the digest that it then needs, as a careful forger would."""
    path = folder / "provenance.intoto.json"
    statement = json.loads(path.read_text())
    statement["predicate"]["runDetails"]["byproducts"].pop()
    change(statement)
    path.write_text(json_text(seal(statement)))


def bless(folder: Path, *names: str) -> None:
    """Put the present digests of files into the provenance, as a careful forger would."""

    def update(statement: Any) -> None:
        for subject in statement["subject"]:
            if subject["name"] in names:
                subject["digest"]["sha256"] = sha256_file(folder / subject["name"])

    forge(folder, update)


@pytest.mark.parametrize("name", ["apache", "llama"])
def test_a_release_as_it_was_made_is_verified(made_once: Path, name: str):
    report = verify(made_once / name)
    assert report.ok, report.problems
    assert report.files > 10


def test_one_changed_byte_of_the_weights_is_found(llama_release: Path):
    weights = llama_release / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert files_with_problems(llama_release) == {"adapter_model.safetensors"}


@pytest.mark.parametrize(
    "name", ["README.md", "NOTICE", "LICENSE", "USE_POLICY.md", "card.html", "obligations.json", "sbom.spdx.json"]
)
def test_an_appended_blank_is_found_in_any_file(llama_release: Path, name: str):
    with (llama_release / name).open("a") as file:
        file.write(" ")
    assert name in files_with_problems(llama_release)


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "README.md", "NOTICE", "sbom.spdx.json", "aibom.spdx3.json", "aibom.cdx.json",
             "obligations.json", "provenance.intoto.json", "LICENSES/llama-3.1.txt", "adapter_config.json"]
)  # fmt: skip
def test_a_missing_file_is_found(llama_release: Path, name: str):
    (llama_release / name).unlink()
    assert name in files_with_problems(llama_release)


def test_an_extra_file_is_found(llama_release: Path):
    (llama_release / "sub").mkdir()
    (llama_release / "sub" / "extra.txt").write_text("x")
    assert files_with_problems(llama_release) == {"sub/extra.txt"}


def test_a_link_to_a_folder_is_found(llama_release: Path, tmp_path: Path):
    (llama_release / "elsewhere").symlink_to(tmp_path)
    assert files_with_problems(llama_release) == {"elsewhere"}


def test_what_moving_a_folder_leaves_is_passed_over(llama_release: Path):
    (llama_release / ".git").mkdir()
    (llama_release / ".git" / "HEAD").write_text("ref")
    (llama_release / ".gitattributes").write_text("*.safetensors filter=lfs")
    (llama_release / "LICENSES" / ".DS_Store").write_text("")
    assert verify(llama_release).ok


def test_a_pickle_is_found_even_when_the_provenance_names_it(llama_release: Path):
    (llama_release / "model.bin").write_bytes(b"\x80\x04.")

    def add(statement: Any) -> None:
        statement["subject"].append(
            {"name": "model.bin", "digest": {"sha256": sha256_file(llama_release / "model.bin")}}
        )

    forge(llama_release, add)
    assert files_with_problems(llama_release) == {"model.bin"}


def test_a_licence_changed_on_the_card_is_found_even_with_a_new_digest(llama_release: Path):
    card = llama_release / "README.md"
    text = card.read_text()
    card.write_text(text.replace(text.splitlines()[1], "license: apache-2.0", 1))
    bless(llama_release, "README.md")
    what = [problem.what for problem in verify(llama_release).problems if problem.file == "README.md"]
    assert any(words.startswith("license is 'apache-2.0'") for words in what)


def test_another_base_on_the_card_is_found(llama_release: Path):
    card = llama_release / "README.md"
    card.write_text(card.read_text().replace("- meta-llama/Llama-3.1-8B", "- Qwen/Qwen2.5-7B", 1))
    bless(llama_release, "README.md")
    assert "README.md" in files_with_problems(llama_release)


def test_a_card_without_the_display_is_found_even_with_a_new_digest(llama_release: Path):
    card = llama_release / "README.md"
    card.write_text(card.read_text().replace("> **Built with Llama**", ""))
    bless(llama_release, "README.md")
    assert any("Built with Llama" in problem.what for problem in verify(llama_release).problems)


def test_a_notice_without_its_words_is_found_even_with_a_new_digest(llama_release: Path):
    (llama_release / "NOTICE").write_text("nothing")
    bless(llama_release, "NOTICE")
    assert any(
        problem.file == "NOTICE" and "Llama 3.1 is licensed" in problem.what
        for problem in verify(llama_release).problems
    )


def test_a_dropped_obligation_is_found_even_with_a_new_digest(llama_release: Path):
    change_json(llama_release / "obligations.json", lambda paper: paper["obligations"].pop())
    bless(llama_release, "obligations.json")
    what = [problem.what for problem in verify(llama_release).problems if problem.file == "obligations.json"]
    assert any(words.startswith("aup (llama-3.1) is owed by the provenance") for words in what)


def test_an_obligation_reopened_is_found(llama_release: Path):
    change_json(llama_release / "obligations.json", lambda paper: paper["obligations"][0].update(status="open"))
    bless(llama_release, "obligations.json")
    assert any("is not fulfilled" in problem.what for problem in verify(llama_release).problems)


def test_an_attestation_without_a_person_is_found(llama_release: Path):
    change_json(llama_release / "obligations.json", lambda paper: paper["obligations"][-1].update(by=""))
    bless(llama_release, "obligations.json")
    assert any("by what or whom" in problem.what for problem in verify(llama_release).problems)


def test_another_licence_text_is_found_even_with_a_new_digest(llama_release: Path):
    (llama_release / "LICENSES" / "llama-3.1.txt").write_text("MIT\n")
    bless(llama_release, "LICENSES/llama-3.1.txt")
    assert "LICENSES/llama-3.1.txt" in files_with_problems(llama_release)


def test_a_name_that_lost_its_prefix_is_found(llama_release: Path):
    change_json(llama_release / "obligations.json", lambda paper: paper.update(release="Acme"))
    bless(llama_release, "obligations.json")
    assert any("must begin with 'Llama'" in problem.what for problem in verify(llama_release).problems)


def test_an_spdx_document_that_breaks_its_rules_is_found(llama_release: Path):
    change_json(
        llama_release / "sbom.spdx.json",
        lambda document: document["packages"][0].update(licenseConcluded="LicenseRef-nowhere"),
    )
    bless(llama_release, "sbom.spdx.json")
    assert files_with_problems(llama_release) == {"sbom.spdx.json"}


def test_an_spdx3_package_without_a_licence_is_found(llama_release: Path):
    def drop(document: Any) -> None:
        document["@graph"] = [
            item for item in document["@graph"] if item.get("relationshipType") != "hasConcludedLicense"
        ]

    change_json(llama_release / "aibom.spdx3.json", drop)
    bless(llama_release, "aibom.spdx3.json")
    assert any("0 of hasConcludedLicense" in problem.what for problem in verify(llama_release).problems)


def test_a_cyclonedx_document_that_breaks_its_schema_is_found(llama_release: Path):
    change_json(llama_release / "aibom.cdx.json", lambda document: document["metadata"]["component"].update(nonsense=1))
    bless(llama_release, "aibom.cdx.json")
    assert files_with_problems(llama_release) == {"aibom.cdx.json"}


@pytest.mark.parametrize(
    "name", ["provenance.intoto.json", "obligations.json", "sbom.spdx.json", "aibom.spdx3.json", "aibom.cdx.json"]
)
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"a": NaN}', "\x00", '{"subject": [1, {"name": "../x", "digest": 3}]}', '"x"']
)
def test_garbage_in_a_paper_is_a_finding_and_no_traceback(llama_release: Path, name: str, content: str):
    (llama_release / name).write_text(content)
    assert name in files_with_problems(llama_release)


def test_a_subject_outside_the_folder_is_never_read(llama_release: Path, tmp_path: Path):
    (tmp_path / "secret").write_text("x")

    def add(statement: Any) -> None:
        statement["subject"].append({"name": "../secret", "digest": {"sha256": sha256_file(tmp_path / "secret")}})

    forge(llama_release, add)
    assert files_with_problems(llama_release) == {"provenance.intoto.json"}


def test_a_folder_that_is_no_release_is_an_error_of_its_own(tmp_path: Path):
    with pytest.raises(TkError, match="not a release folder") as caught:
        verify(tmp_path)
    assert caught.value.exit_code == 1
    with pytest.raises(TkError, match="no such folder"):
        verify(tmp_path / "nowhere")


def test_an_adapter_pointed_at_another_base_is_found_even_with_a_new_digest(llama_release: Path):
    change_json(llama_release / "adapter_config.json", lambda config: config.update(base_model_name_or_path="x/y"))
    bless(llama_release, "adapter_config.json")
    assert any(problem.what.startswith("is for the base 'x/y'") for problem in verify(llama_release).problems)


def test_another_licence_in_spdx_is_found_even_with_a_new_digest(llama_release: Path):
    change_json(
        llama_release / "sbom.spdx.json", lambda document: document["packages"][0].update(licenseDeclared="MIT")
    )
    bless(llama_release, "sbom.spdx.json")
    assert files_with_problems(llama_release) == {"sbom.spdx.json"}


def test_another_licence_in_spdx3_is_found_even_with_a_new_digest(llama_release: Path):
    def change(document: Any) -> None:
        for item in document["@graph"]:
            if item["type"] == "simplelicensing_LicenseExpression" and item["spdxId"].endswith("#license-1"):
                item["simplelicensing_licenseExpression"] = "MIT"

    change_json(llama_release / "aibom.spdx3.json", change)
    bless(llama_release, "aibom.spdx3.json")
    assert files_with_problems(llama_release) == {"aibom.spdx3.json"}


def test_another_digest_of_the_base_is_found(llama_release: Path):
    def change(document: Any) -> None:
        document["metadata"]["component"]["pedigree"]["ancestors"][0]["components"][0]["hashes"][0]["content"] = (
            "0" * 64
        )

    change_json(llama_release / "aibom.cdx.json", change)
    bless(llama_release, "aibom.cdx.json")
    (problem,) = verify(llama_release).problems
    assert str(problem) == "aibom.cdx.json: gives another SHA-256 for base/model.safetensors than the provenance"


def test_any_changed_byte_of_the_provenance_is_named(llama_release: Path):
    path = llama_release / "provenance.intoto.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), len(whole) // 40):
        content = bytearray(whole)
        content[position] ^= 1
        path.write_bytes(bytes(content))
        assert "provenance.intoto.json" in files_with_problems(llama_release), position
    path.write_bytes(whole.replace(b"  ", b" ", 1))
    assert files_with_problems(llama_release) == {"provenance.intoto.json"}


def test_a_file_that_cannot_be_read_is_damage_and_no_defect(llama_release: Path, monkeypatch: pytest.MonkeyPatch):
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "NOTICE":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    verify(llama_release)
