"""Provenance: an in-toto Statement v1 with a SLSA provenance v1 predicate over every file of a release.

The statement says which bytes the release consists of, what they were made from (recipe, base, data, verdict) and by
what. https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from toolkit.files.atomic import json_text
from toolkit.files.digests import sha256_json
from toolkit.release.facts import Base, Facts
from toolkit.release.front_matter import front_matter
from toolkit.release.making import results
from toolkit.release.record import at, mapping, text

FILE = "provenance.intoto.json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:tk:finetune:1"
_SEAL = "this statement without this entry (canonical JSON)"


def make_provenance(facts: Facts, digests: Mapping[str, str]) -> dict[str, object]:
    """The statement for a release whose files (relative POSIX path → SHA-256 hex) are `digests`."""
    record = facts.record
    keys = front_matter(facts)
    release: dict[str, object] = {
        key: keys[key] for key in ("license", "license_name", "license_link", "base_model") if key in keys
    }
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(digests.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"recipe": _public_recipe(facts), "use": mapping(record, "use")},
                "internalParameters": {
                    "release": {"name": facts.name, "base": facts.base.name, **_form(facts)} | release,
                    "licenses": {
                        "declared": facts.declared,
                        "concluded": facts.concluded,
                        "effective": [
                            {"id": item.terms.id, "spdx": item.terms.spdx, "role": item.role, "from": item.work}
                            for item in facts.effective
                        ],
                    },
                    "obligations": [
                        {"id": owed.id, "license": owed.terms.id, "clause": owed.clause or None, "value": owed.value}
                        for owed in facts.obligations
                    ],
                    "verdict": at(record, "verdict.verdict"),
                    "permit": mapping(record, "permit"),
                    "seed": at(record, "seed"),
                    "plan": {"choices": mapping(record, "plan.choices")},
                },
                "resolvedDependencies": list(_dependencies(facts)),
            },
            "runDetails": {
                "builder": {"id": "urn:tk", "version": {facts.tool: facts.tool_version, **_versions(facts)}},
                "metadata": {
                    "invocationId": str(at(record, "id")),
                    "startedOn": f"{facts.started:%Y-%m-%dT%H:%M:%SZ}",
                    "finishedOn": f"{facts.finished:%Y-%m-%dT%H:%M:%SZ}",
                },
                "byproducts": [
                    {"name": "run record (canonical JSON)", "digest": {"sha256": facts.record_sha256}},
                    {"name": "held-out results", "annotations": results(facts)},
                ],
            },
        },
    }


def _form(facts: Facts) -> dict[str, object]:
    """In which form it is released, where that is not the adapter itself, and how its weights came about."""
    form = facts.form
    if not form.has_weights:
        return {}
    merging = {"merge": form.merge, "dtype": form.dtype, "quantization": form.quantization, "kl": form.kl}
    return {"form": form.kind, "merging": merging}


def seal(statement: Mapping[str, object]) -> dict[str, object]:
    """The statement with the digest of everything else in it. It shows that a byte was changed, not who changed it:
    that takes a signature."""
    sealed = copy.deepcopy(dict(statement))
    _byproducts(sealed).append({"name": _SEAL, "digest": {"sha256": sha256_json(statement)}})
    return sealed


def seal_problem(statement: Mapping[str, object], content: bytes) -> str | None:
    """What is wrong with a sealed statement read from `content`, or None. Its spelling counts too, down to white space."""
    plain = copy.deepcopy(dict(statement))
    byproducts = _byproducts(plain)
    seals = [entry for entry in byproducts if at(entry, "name") == _SEAL]
    if len(seals) != 1 or byproducts[-1:] != seals:
        return "does not end its byproducts with the digest of the statement"
    byproducts.pop()
    if at(seals[0], "digest.sha256") != sha256_json(plain):
        return "was changed after the release: the statement is not the one whose digest it carries"
    if json_text(statement).encode() != content:
        return "was changed after the release: it is spelt otherwise than it was written"
    return None


def _byproducts(statement: dict[str, object]) -> list[object]:
    found = at(statement, "predicate.runDetails.byproducts")
    return found if isinstance(found, list) else []


def _dependencies(facts: Facts) -> Iterable[dict[str, object]]:
    record = facts.record
    yield {"name": "recipe", "digest": {"sha256": str(at(record, "recipe.sha256"))}}
    for file, digest in facts.base.files.items():
        yield {"name": f"base/{file}", **base_uri(facts.base), "digest": {"sha256": digest}}
    for dataset in facts.data:
        entry: dict[str, object] = {"name": f"data/{dataset.name}"}
        if dataset.is_hub:
            entry["uri"] = f"https://huggingface.co/datasets/{dataset.name}"
        if dataset.sha256:
            entry["digest"] = {"sha256": dataset.sha256}
        if dataset.terms:
            entry["annotations"] = {"license": dataset.terms.spdx}
        yield entry
    if facts.form.has_weights:
        for file, recorded in mapping(record, "adapter.files").items():
            yield {"name": file, "digest": {"sha256": str(at(recorded, "sha256"))}}
    if permitted := text(record, "permit.verdict_sha256"):
        yield {"name": "verdict", "digest": {"sha256": permitted}}


def base_uri(base: Base) -> dict[str, str]:
    """`uri` of a base: a package URL where a hub has it; nothing for a folder on somebody's disk."""
    if base.is_hub:
        return {"uri": f"pkg:huggingface/{base.name}" + (f"@{base.revision.lower()}" if base.revision else "")}
    return {"uri": base.name} if base.name.startswith("embedded:") else {}


def _public_recipe(facts: Facts) -> dict[str, object]:
    """The recipe as resolved, with the names that others can look up instead of paths on the machine that ran it."""
    resolved = dict(mapping(facts.record, "recipe.resolved"))
    resolved.pop("output", None)
    resolved.pop("use", None)
    data = dict(mapping(resolved, "data"))
    if text(data, "eval"):
        data["eval"] = str(data["eval"]).rpartition("/")[2]
    return {**resolved, "base": facts.base.name, "data": {**data, "train": facts.data[0].name}}


def _versions(facts: Facts) -> dict[str, str]:
    return {name: str(version) for name, version in mapping(facts.record, "versions").items() if version}
