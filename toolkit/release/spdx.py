"""The bill of materials in SPDX 2.3 (`sbom.spdx.json`), built and validated with spdx-tools."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import TkError
from toolkit.release.inventory import Inventory, data_license

if TYPE_CHECKING:
    from spdx_tools.spdx.model import Document, Package

FILE = "sbom.spdx.json"


def make_spdx(inventory: Inventory) -> dict[str, Any]:
    """The document as JSON. Raises TkError when spdx-tools finds it invalid, which is a defect of this module."""
    from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    document = _document(inventory)
    if messages := validate_full_spdx_document(document):
        raise TkError(f"the SPDX document is not valid: {messages[0].validation_message}", where=FILE)
    converted: dict[str, Any] = DocumentConverter().convert(document)
    return converted


def spdx_problems(path: Path) -> list[str]:
    """What spdx-tools finds wrong with a document: that it cannot be parsed, or each validation message."""
    from spdx_tools.spdx.parser.error import SPDXParsingError
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    from toolkit.release.record import read_json

    try:
        document = JsonLikeDictParser().parse(read_json(path))
    except TkError as error:
        return [str(error)]
    except SPDXParsingError as error:
        return [str(message) for message in error.get_messages()]
    except Exception as error:  # the parser meets arbitrary JSON with whatever Python raises
        return [f"cannot be parsed as SPDX: {error}"]
    return [message.validation_message for message in validate_full_spdx_document(document)]


def _document(inventory: Inventory) -> Document:
    from spdx_tools.spdx.model import (
        Actor,
        ActorType,
        CreationInfo,
        Document,
        ExtractedLicensingInfo,
        Relationship,
        RelationshipType,
    )

    facts = inventory.facts
    creation = CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id="SPDXRef-DOCUMENT",
        name=facts.name,
        document_namespace=f"https://spdx.org/spdxdocs/{_slug(facts.name)}-{inventory.serial}",
        creators=[Actor(ActorType.TOOL, f"{facts.tool}-{facts.tool_version}")],
        created=_moment(facts.finished),
        document_comment="Licences: declared is what the release shows, concluded every licence that holds for it.",
    )
    release, base = _release(inventory), _base(inventory)
    data, libraries = _data(inventory), _libraries(inventory)
    files = _files(inventory)
    link = [Relationship("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, release.spdx_id)]
    link += [Relationship(release.spdx_id, RelationshipType.CONTAINS, file.spdx_id) for file in files]
    link.append(
        Relationship(
            release.spdx_id,
            RelationshipType.DESCENDANT_OF,
            base.spdx_id,
            "base with an adapter merged into it" if facts.form.has_weights else "adapter trained over this base",
        )
    )
    link += [
        Relationship(release.spdx_id, RelationshipType.GENERATED_FROM, item.spdx_id, "trained on this data")
        for item in data
    ]
    link += [Relationship(item.spdx_id, RelationshipType.BUILD_TOOL_OF, release.spdx_id) for item in libraries]
    texts = [
        ExtractedLicensingInfo(
            license_id=terms.spdx,
            extracted_text=inventory.texts[terms.id],
            license_name=terms.name,
            cross_references=[terms.url] if terms.url else [],
        )
        for terms in inventory.custom_terms
    ]
    return Document(
        creation,
        packages=[release, base, *data, *libraries],
        files=files,
        relationships=link,
        extracted_licensing_info=texts,
    )


def _release(inventory: Inventory) -> Package:
    from spdx_tools.spdx.model import Package, PackagePurpose, PackageVerificationCode

    facts = inventory.facts
    joined = "".join(sorted(digest.sha1 for digest in inventory.files.values()))
    return Package(
        spdx_id="SPDXRef-Release",
        name=facts.name,
        version=inventory.version,
        download_location=_nothing(),
        files_analyzed=True,
        verification_code=PackageVerificationCode(hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()),
        license_declared=_expression(facts.declared),
        license_concluded=_expression(facts.concluded),
        copyright_text=_nothing(),
        summary=inventory.summary,
        primary_package_purpose=PackagePurpose.OTHER,  # SPDX 2.3 has no purpose for models
        built_date=_moment(facts.finished),
    )


def _base(inventory: Inventory) -> Package:
    from spdx_tools.spdx.model import Checksum, ChecksumAlgorithm, Package, PackagePurpose

    base = inventory.facts.base
    listing = "\n".join(f"{digest}  {file}" for file, digest in base.files.items())
    location = f"git+https://huggingface.co/{base.name}" + (f"@{base.revision}" if base.revision else "")
    return Package(
        spdx_id="SPDXRef-Base",
        name=base.name,
        version=base.revision,
        download_location=location if base.is_hub else _nothing(),
        files_analyzed=False,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, base.digest)],
        license_declared=_expression(inventory.base_declared),
        license_concluded=_expression(inventory.base_concluded),
        copyright_text=_nothing(),
        external_references=_purl(inventory.base_purl),
        primary_package_purpose=PackagePurpose.OTHER,
        comment=f"Base model. The checksum is that of its file list as canonical JSON; its files:\n{listing}",
    )


def _data(inventory: Inventory) -> list[Package]:
    from spdx_tools.spdx.model import Checksum, ChecksumAlgorithm, Package, PackagePurpose

    return [
        Package(
            spdx_id=f"SPDXRef-Data-{number}",
            name=dataset.name,
            download_location=f"https://huggingface.co/datasets/{dataset.name}" if dataset.is_hub else _nothing(),
            files_analyzed=False,
            checksums=[Checksum(ChecksumAlgorithm.SHA256, dataset.sha256)] if dataset.sha256 else [],
            license_declared=_expression(data_license(dataset)),
            license_concluded=_expression(data_license(dataset)),
            copyright_text=_nothing(),
            primary_package_purpose=PackagePurpose.OTHER,
            comment="Data the adapter was trained on." + (f" {dataset.rows} rows." if dataset.rows is not None else ""),
        )
        for number, dataset in enumerate(inventory.facts.data, start=1)
    ]


def _libraries(inventory: Inventory) -> list[Package]:
    from spdx_tools.spdx.model import Package, PackagePurpose

    return [
        Package(
            spdx_id=f"SPDXRef-Tool-{_slug(library.name)}",
            name=library.name,
            version=library.version,
            download_location=_nothing(),
            files_analyzed=False,
            license_declared=_nothing(),
            license_concluded=_nothing(),
            copyright_text=_nothing(),
            external_references=_purl(library.purl),
            primary_package_purpose=PackagePurpose.LIBRARY,
        )
        for library in inventory.libraries
    ]


def _files(inventory: Inventory) -> list[Any]:
    from spdx_tools.spdx.model import Checksum, ChecksumAlgorithm, File

    return [
        File(
            name=f"./{name}",
            spdx_id=f"SPDXRef-File-{number}",
            checksums=[
                Checksum(ChecksumAlgorithm.SHA1, digest.sha1),
                Checksum(ChecksumAlgorithm.SHA256, digest.sha256),
            ],
            license_concluded=_nothing(),
            copyright_text=_nothing(),
        )
        for number, (name, digest) in enumerate(inventory.files.items(), start=1)
    ]


def _expression(words: str) -> Any:
    from license_expression import get_spdx_licensing  # type: ignore[import-untyped]

    return _nothing() if words == "NOASSERTION" else get_spdx_licensing().parse(words)


def _purl(purl: str | None) -> list[Any]:
    from spdx_tools.spdx.model import ExternalPackageRef, ExternalPackageRefCategory

    return [ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", purl)] if purl else []


def _nothing() -> Any:
    from spdx_tools.spdx.model import SpdxNoAssertion

    return SpdxNoAssertion()


def _moment(moment: datetime) -> datetime:
    """spdx-tools writes its `datetime` as UTC whatever its zone, and compares only naive ones."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _slug(words: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", words).strip("-") or "unnamed"
