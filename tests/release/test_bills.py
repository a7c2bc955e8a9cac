"""The bills of materials and the provenance: each valid by its own rules, all saying the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.release.runs import ATTESTED, llama_run
from toolkit.files.digests import sha256_file
from toolkit.release.bundle import release

CUSTOM = "LicenseRef-scancode-llama-3.1-license-2024"
TEXT = "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n"


def read(made_once: Path, name: str, which: str = "llama") -> Any:
    return json.loads((made_once / which / name).read_text())


def test_spdx_declares_and_concludes_the_licence_with_its_text(made_once: Path):
    document = read(made_once, "sbom.spdx.json")
    package = document["packages"][0]
    assert (package["licenseDeclared"], package["licenseConcluded"]) == (CUSTOM, CUSTOM)
    (extracted,) = document["hasExtractedLicensingInfos"]
    assert (extracted["licenseId"], extracted["extractedText"]) == (CUSTOM, TEXT)


def test_spdx_ties_the_release_to_base_data_and_tools(made_once: Path):
    links = {
        (link["relationshipType"], link["relatedSpdxElement"])
        for link in read(made_once, "sbom.spdx.json")["relationships"]
    }
    assert ("DESCENDANT_OF", "SPDXRef-Base") in links
    assert ("GENERATED_FROM", "SPDXRef-Data-1") in links
    tools = {
        package["name"]: package["versionInfo"]
        for package in read(made_once, "sbom.spdx.json")["packages"]
        if "Tool" in package["SPDXID"]
    }
    assert tools == {"python": "3.11.2", "torch": "2.13.0+cpu", "peft": "0.21.2"}


def test_spdx3_packages_have_one_licence_of_each_kind(made_once: Path):
    graph = read(made_once, "aibom.spdx3.json")["@graph"]
    packages = [item["spdxId"] for item in graph if item["type"] in ("ai_AIPackage", "dataset_DatasetPackage")]
    assert len(packages) == 3
    for package in packages:
        for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
            links = [item for item in graph if item.get("relationshipType") == kind and item["from"] == package]
            assert [len(link["to"]) for link in links] == [1]


def test_spdx3_tells_what_the_model_descends_from_and_learnt_from(made_once: Path):
    graph = read(made_once, "aibom.spdx3.json")["@graph"]
    names = {item.get("spdxId"): item.get("name") for item in graph}
    links = {
        item["relationshipType"]: [names[end] for end in item["to"]] for item in graph if item["type"] == "Relationship"
    }
    assert links["descendantOf"] == ["meta-llama/Llama-3.1-8B"]
    assert links["trainedOn"] == ["support.jsonl"]


def test_cyclonedx_carries_model_card_pedigree_and_licence_text(made_once: Path):
    component = read(made_once, "aibom.cdx.json")["metadata"]["component"]
    assert component["type"] == "machine-learning-model"
    assert component["pedigree"]["ancestors"][0]["name"] == "meta-llama/Llama-3.1-8B"
    (entry,) = component["licenses"]
    assert "id" not in entry["license"]  # an id outside SPDX's list makes the file invalid
    assert component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]


def test_cyclonedx_uses_the_id_of_a_listed_licence(made_once: Path):
    (entry,) = read(made_once, "aibom.cdx.json", "apache")["metadata"]["component"]["licenses"]
    assert entry["license"]["id"] == "Apache-2.0"


def test_provenance_names_every_other_file_with_its_digest(made_once: Path):
    statement = read(made_once, "provenance.intoto.json")
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    folder = made_once / "llama"
    files = {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
    del files["provenance.intoto.json"]
    assert {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]} == files


def test_provenance_pins_recipe_base_data_and_verdict(made_once: Path):
    dependencies = read(made_once, "provenance.intoto.json")["predicate"]["buildDefinition"]["resolvedDependencies"]
    digests = {entry["name"]: entry["digest"]["sha256"] for entry in dependencies}
    assert digests["recipe"] == "ab" * 32
    assert digests["base/model.safetensors"] == "cd" * 32
    assert digests["data/support.jsonl"] == "12" * 32
    assert "verdict" in digests


def test_all_documents_name_the_same_licences_versions_and_digests(made_once: Path):
    spdx, spdx3 = read(made_once, "sbom.spdx.json"), read(made_once, "aibom.spdx3.json")["@graph"]
    cdx, statement = read(made_once, "aibom.cdx.json"), read(made_once, "provenance.intoto.json")
    parameters = statement["predicate"]["buildDefinition"]["internalParameters"]
    weights = sha256_file(made_once / "llama" / "adapter_model.safetensors")
    release3 = next(item for item in spdx3 if item["type"] == "ai_AIPackage" and item["spdxId"].endswith("#release"))
    component = cdx["metadata"]["component"]
    names = {spdx["packages"][0]["name"], release3["name"], component["name"], parameters["release"]["name"]}
    assert names == {"Llama-Acme-8B"}
    assert {spdx["packages"][0]["versionInfo"], release3["software_packageVersion"], component["version"]} == {"run-1"}
    expressions = {
        item["simplelicensing_licenseExpression"]
        for item in spdx3
        if item["type"] == "simplelicensing_LicenseExpression"
    }
    assert CUSTOM in expressions
    assert parameters["licenses"]["concluded"] == CUSTOM
    assert component["hashes"][0]["content"] == release3["verifiedUsing"][0]["hashValue"] == weights
    assert weights in (made_once / "llama" / "README.md").read_text()
    serial = cdx["serialNumber"].removeprefix("urn:uuid:")
    assert spdx["documentNamespace"].endswith(serial)
    assert release3["spdxId"].startswith(f"urn:uuid:{serial}")


@pytest.mark.parametrize(
    "words", ["CC-BY-4.0", "internal use only", "MIT OR Apache-2.0", "cc-by-nc-4.0", "GPL-2.0", None]
)
def test_any_words_for_the_licence_of_the_data_give_valid_documents(tmp_path: Path, words: str | None):
    data = {"train": {"path": "a b.jsonl", "sha256": "12" * 32, "rows": 3}, "license": words}
    run = llama_run(tmp_path / "run", record={"data": data, "versions": {}, "evaluation": None, "metrics": {}})
    release(run, tmp_path / "out", name="Llama 8B, “häuslich” <x>", attestations=ATTESTED, license_files={})


def test_a_permissive_and_a_custom_licence_are_both_concluded(tmp_path: Path):
    effective = [
        {"id": "mit", "spdx": "MIT", "role": "model", "from": "deepseek-ai/R1", "evidence": "LICENSE"},
        {"id": "llama-3.1", "spdx": CUSTOM, "role": "model", "from": "meta-llama/Llama-3.1-8B", "evidence": "base"},
    ]
    run = llama_run(tmp_path / "run", verdict={"effective_licenses": effective})
    release(run, tmp_path / "out", name=None, attestations=ATTESTED, license_files={})
    package = json.loads((tmp_path / "out" / "sbom.spdx.json").read_text())["packages"][0]
    assert package["licenseDeclared"] == CUSTOM
    assert package["licenseConcluded"] == f"{CUSTOM} AND MIT"
