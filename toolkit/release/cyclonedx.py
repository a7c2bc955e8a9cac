"""The bill of materials in CycloneDX 1.6 (`aibom.cdx.json`): a machine-learning model with its model card.

Written as plain JSON because cyclonedx-python-lib has no class for model cards and drops them on loading; its strict
validator is what checks the result. https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from toolkit.release.inventory import Inventory, Library
from toolkit.release.making import hyperparameters, results
from toolkit.release.record import text
from toolkit.release.terms import NamedTerms

FILE = "aibom.cdx.json"


def make_cyclonedx(inventory: Inventory) -> dict[str, Any]:
    """The document as JSON."""
    facts = inventory.facts
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{inventory.serial}",
        "version": 1,
        "metadata": {
            "timestamp": inventory.created,
            "tools": {"components": [{"type": "application", "name": facts.tool, "version": facts.tool_version}]},
            "component": _release(inventory),
        },
        "components": [*_data(inventory), *(_library(library) for library in inventory.libraries)],
        "dependencies": _dependencies(inventory),
    }


def cyclonedx_problems(document: str) -> list[str]:
    """What the strict validator of CycloneDX 1.6 finds wrong with a document, the first problem only."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document)
    return [str(found).splitlines()[0]] if found else []


def _release(inventory: Inventory) -> dict[str, Any]:
    facts = inventory.facts
    licences = (facts.terms, *facts.governing) if facts.terms.id not in ("several", "unknown") else facts.governing
    return {
        "type": "machine-learning-model",
        "bom-ref": "release",
        "name": facts.name,
        "version": inventory.version,
        "description": inventory.summary,
        "hashes": [{"alg": "SHA-256", "content": digest.sha256} for _, digest in inventory.weights[:1]],
        "licenses": _licenses(dict.fromkeys(licences), inventory),
        "pedigree": {
            "ancestors": [_base(inventory)],
            "notes": f"Changed from its ancestor: {facts.form.made(facts.adapter_type, facts.base.name)}.",
        },
        "components": [
            {
                "type": "file",
                "bom-ref": f"file:{name}",
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": digest.sha256}],
            }
            for name, digest in inventory.files.items()
        ],
        "modelCard": _model_card(inventory),
    }


def _base(inventory: Inventory) -> dict[str, Any]:
    base = inventory.facts.base
    component: dict[str, Any] = {"type": "machine-learning-model", "bom-ref": "base", "name": base.name}
    if base.revision:
        component["version"] = base.revision
    if inventory.base_purl:
        component["purl"] = inventory.base_purl
    return component | {
        "licenses": _licenses(inventory.facts.governing, inventory),
        "components": [
            {"type": "file", "name": file, "hashes": [{"alg": "SHA-256", "content": digest}]}
            for file, digest in base.files.items()
        ],
    }


def _model_card(inventory: Inventory) -> dict[str, Any]:
    facts = inventory.facts
    purpose = text(facts.record, "use.purpose")
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "text-generation",
            "architectureFamily": "transformer",
            "modelArchitecture": facts.form.named(facts.adapter_type, facts.base.name),
            "datasets": [{"ref": f"data:{number}"} for number, _ in enumerate(facts.data, start=1)],
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [{"type": name, "value": f"{value:.6g}"} for name, value in results(facts).items()]
        },
        "considerations": {
            **({"useCases": [purpose]} if purpose else {}),
            "technicalLimitations": ["Assessed only on held-out rows of its own kind of data; see README.md."],
        },
        "properties": [
            {"name": f"tk:hyperparameter:{name}", "value": value} for name, value in hyperparameters(facts).items()
        ],
    }


def _data(inventory: Inventory) -> list[dict[str, Any]]:
    components = []
    for number, dataset in enumerate(inventory.facts.data, start=1):
        component: dict[str, Any] = {"type": "data", "bom-ref": f"data:{number}", "name": dataset.name}
        if dataset.sha256:
            component["hashes"] = [{"alg": "SHA-256", "content": dataset.sha256}]
        if dataset.terms:
            component["licenses"] = _licenses([dataset.terms], inventory)
        contents = {"contents": {"url": f"https://huggingface.co/datasets/{dataset.name}"}} if dataset.is_hub else {}
        component["data"] = [{"type": "dataset", "name": dataset.name, **contents}]
        components.append(component)
    return components


def _library(library: Library) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": library.purl,
        "name": library.name,
        "version": library.version,
        "purl": library.purl,
    }


def _dependencies(inventory: Inventory) -> list[dict[str, Any]]:
    data = [f"data:{number}" for number, _ in enumerate(inventory.facts.data, start=1)]
    return [{"ref": "release", "dependsOn": ["base", *data, *(library.purl for library in inventory.libraries)]}]


def _licenses(terms: Iterable[NamedTerms], inventory: Inventory) -> list[dict[str, Any]]:
    return [{"license": _license(item, inventory)} for item in terms if item.spdx != "NOASSERTION"]


def _license(terms: NamedTerms, inventory: Inventory) -> dict[str, Any]:
    """A listed licence by id; any other by name with its text, because ids outside the list make the file invalid."""
    if not terms.custom:
        return {"id": terms.spdx, "acknowledgement": "concluded"}
    content = base64.b64encode(inventory.texts[terms.id].encode()).decode()
    entry: dict[str, Any] = {
        "name": terms.name,
        "acknowledgement": "concluded",
        "text": {"contentType": "text/plain", "encoding": "base64", "content": content},
        "properties": [{"name": "tk:license", "value": terms.id}, {"name": "tk:spdx", "value": terms.spdx}],
    }
    return entry | ({"url": terms.url} if terms.url else {})
