"""The bill of materials in SPDX 3.0.1 with the AI and Dataset profiles (`aibom.spdx3.json`), through spdx-python-model.

The AI profile asks for exactly one declared and one concluded licence per package, in prose only: no schema and no
validator sees a file without any (spdx/spdx-3-model#1348). `spdx3_problems` does.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from toolkit.release.inventory import Inventory, data_license
from toolkit.release.making import hyperparameters, results
from toolkit.release.record import text

FILE = "aibom.spdx3.json"
_PACKAGES = ("ai_AIPackage", "dataset_DatasetPackage")


def make_spdx3(inventory: Inventory) -> dict[str, Any]:
    """The document as JSON-LD."""
    from spdx_python_model import v3_0_1 as spdx

    writer = _Writer(inventory, spdx)
    objects = spdx.SHACLObjectSet(writer.objects())
    buffer = io.BytesIO()
    spdx.JSONLDSerializer().write(objects, buffer)
    document: dict[str, Any] = json.loads(buffer.getvalue())
    return document


def spdx3_problems(document: object) -> list[str]:
    """What is wrong: that the model cannot read the document, or packages without one licence of each kind."""
    from spdx_python_model import v3_0_1 as spdx

    graph = document.get("@graph") if isinstance(document, Mapping) else None
    if not isinstance(graph, list) or not all(isinstance(item, Mapping) for item in graph):
        return ["has no @graph of elements"]
    try:
        spdx.JSONLDDeserializer().read(io.BytesIO(json.dumps(document).encode()), spdx.SHACLObjectSet())
    except Exception as error:  # the reader meets arbitrary JSON with whatever Python raises
        return [f"cannot be read as SPDX 3.0.1: {error}"]
    problems = []
    for package in (item for item in graph if item.get("type") in _PACKAGES):
        for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
            found = sum(
                len(item.get("to") or ()) for item in graph
                if item.get("relationshipType") == kind and item.get("from") == package.get("spdxId")
            )  # fmt: skip
            if found != 1:
                problems.append(
                    f"{package.get('name')}: {found} of {kind}; the AI and Dataset profiles ask for exactly one"
                )
        if package.get("type") == "dataset_DatasetPackage" and not package.get("dataset_datasetType"):
            problems.append(f"{package.get('name')}: no datasetType")
    return problems


class _Writer:
    """Makes the elements of one document. `spdx` is the generated module of the model, imported late."""

    def __init__(self, inventory: Inventory, spdx: Any) -> None:
        self.inventory = inventory
        self.spdx = spdx
        self.root = f"urn:uuid:{inventory.serial}"
        self.info = spdx.CreationInfo(_id="_:creation", specVersion="3.0.1", created=inventory.facts.finished)
        self.elements: list[Any] = []
        self.licences: dict[str, Any] = {}

    def objects(self) -> list[Any]:
        spdx, facts = self.spdx, self.inventory.facts
        maker = self.add(spdx.SoftwareAgent, "agent", name=f"{facts.tool} {facts.tool_version}")
        tool = self.add(spdx.Tool, "tool", name=f"{facts.tool} {facts.tool_version}")
        self.info.createdBy, self.info.createdUsing = [maker], [tool]
        release, base = self.release(maker), self.base()
        data = [self.dataset(number) for number, _ in enumerate(facts.data)]
        files = self.files()
        kinds = spdx.RelationshipType
        self.relate(release, kinds.contains, files)
        self.relate(release, kinds.descendantOf, [base])
        self.relate(release, kinds.trainedOn, data)
        self.relate(release, kinds.dependsOn, [base, *data])  # else checkers of minimum elements call them floating
        bom = self.add(
            spdx.software_Sbom,
            "sbom",
            name=facts.name,
            rootElement=[release],
            software_sbomType=[spdx.software_SbomType.build],
        )
        profiles = spdx.ProfileIdentifierType
        bom.element = list(self.elements)
        document = self.add(
            spdx.SpdxDocument, "document", name=facts.name, rootElement=[bom],
            profileConformance=[
                profiles.core, profiles.software, profiles.simpleLicensing, profiles.ai, profiles.dataset,
            ],
        )  # fmt: skip
        document.element = [element for element in self.elements if element is not document]
        return [self.info, *self.elements]

    def release(self, maker: Any) -> Any:
        spdx, inventory, facts = self.spdx, self.inventory, self.inventory.facts
        entries = [spdx.DictionaryEntry(key=name, value=value) for name, value in hyperparameters(facts).items()]
        metrics = [spdx.DictionaryEntry(key=name, value=f"{value:.6g}") for name, value in results(facts).items()]
        package = self.add(
            spdx.ai_AIPackage, "release", name=facts.name, summary=inventory.summary,
            software_packageVersion=inventory.version, software_primaryPurpose=spdx.software_SoftwarePurpose.model,
            software_copyrightText="NOASSERTION", suppliedBy=maker,
            builtTime=facts.finished, releaseTime=facts.finished,
            ai_typeOfModel=["transformer", facts.adapter_type], ai_hyperparameter=entries, ai_metric=metrics,
            ai_informationAboutTraining=f"{facts.form.made(facts.adapter_type, facts.base.name)}; see README.md",
            ai_limitation="Assessed only on held-out rows of its own kind of data; see README.md.",
            verifiedUsing=[self.hash(digest.sha256) for _, digest in inventory.weights[:1]],
        )  # fmt: skip
        if purpose := text(facts.record, "use.purpose"):
            package.ai_informationAboutApplication = purpose
        self.license(package, facts.declared, facts.concluded)
        return package

    def base(self) -> Any:
        spdx, base = self.spdx, self.inventory.facts.base
        package = self.add(
            spdx.ai_AIPackage, "base", name=base.name, software_primaryPurpose=spdx.software_SoftwarePurpose.model,
            software_copyrightText="NOASSERTION", verifiedUsing=[self.hash(base.digest)],
            software_packageVersion=base.revision or f"sha256:{base.digest[:12]}",
            comment="The hash is the SHA-256 of the base's file list as canonical JSON {name: sha256}.",
        )  # fmt: skip
        self.supply(package, base.name, base.is_hub)
        if self.inventory.base_purl:
            package.software_packageUrl = self.inventory.base_purl
            package.software_downloadLocation = f"https://huggingface.co/{base.name}"
        self.license(package, self.inventory.base_declared, self.inventory.base_concluded)
        return package

    def dataset(self, number: int) -> Any:
        spdx, dataset = self.spdx, self.inventory.facts.data[number]
        package = self.add(
            spdx.dataset_DatasetPackage, f"data-{number + 1}", name=dataset.name,
            software_primaryPurpose=spdx.software_SoftwarePurpose.data, software_copyrightText="NOASSERTION",
            dataset_datasetType=[spdx.dataset_DatasetType.text],
        )  # fmt: skip
        self.supply(package, dataset.name, dataset.is_hub)
        if dataset.sha256:
            package.verifiedUsing = [self.hash(dataset.sha256)]
            package.software_packageVersion = f"sha256:{dataset.sha256[:12]}"
        if dataset.bytes is not None:
            package.dataset_datasetSize = dataset.bytes
        if dataset.is_hub:
            package.software_downloadLocation = f"https://huggingface.co/datasets/{dataset.name}"
        self.license(package, data_license(dataset), data_license(dataset))
        return package

    def supply(self, package: Any, name: str, is_hub: bool) -> None:
        """Who hands a work on: the owner of its page on the hub. A local work's supplier is not known."""
        if is_hub:
            owner = name.partition("/")[0]
            known = next((element for element in self.elements if element._id == f"{self.root}#owner-{owner}"), None)
            package.suppliedBy = known or self.add(self.spdx.Organization, f"owner-{owner}", name=owner)

    def files(self) -> list[Any]:
        return [
            self.add(self.spdx.software_File, f"file-{number}", name=name, verifiedUsing=[self.hash(digest.sha256)],
                     software_copyrightText="NOASSERTION")
            for number, (name, digest) in enumerate(self.inventory.files.items(), start=1)
        ]  # fmt: skip

    def license(self, package: Any, declared: str, concluded: str) -> None:
        kinds = self.spdx.RelationshipType
        self.relate(package, kinds.hasDeclaredLicense, [self.expression(declared)])
        self.relate(package, kinds.hasConcludedLicense, [self.expression(concluded)])

    def expression(self, words: str) -> Any:
        """One element per expression; a licence outside the SPDX list maps to an element that holds its text."""
        if words not in self.licences:
            custom = [terms for terms in self.inventory.custom_terms if terms.spdx in words.split(" AND ")]
            self.licences[words] = self.add(
                self.spdx.simplelicensing_LicenseExpression, f"license-{len(self.licences) + 1}",
                simplelicensing_licenseExpression=words,
                simplelicensing_customIdToUri=[
                    self.spdx.DictionaryEntry(key=terms.spdx, value=f"{self.root}#{terms.spdx}") for terms in custom
                ],
            )  # fmt: skip
            for terms in custom:
                if not any(element._id == f"{self.root}#{terms.spdx}" for element in self.elements):
                    wording = self.inventory.texts[terms.id]
                    self.add(
                        self.spdx.simplelicensing_SimpleLicensingText,
                        terms.spdx,
                        name=terms.name,
                        simplelicensing_licenseText=wording,
                    )
        return self.licences[words]

    def relate(self, start: Any, kind: str, ends: list[Any]) -> None:
        if ends:
            name = f"{start._id.rpartition('#')[2]}-{kind.rpartition('/')[2]}"
            self.add(self.spdx.Relationship, name, from_=start, relationshipType=kind, to=ends)

    def hash(self, digest: str) -> Any:
        return self.spdx.Hash(algorithm=self.spdx.HashAlgorithm.sha256, hashValue=digest)

    def add(self, kind: Any, fragment: str, **values: Any) -> Any:
        element = kind(_id=f"{self.root}#{fragment}", creationInfo=self.info, **values)
        self.elements.append(element)
        return element
