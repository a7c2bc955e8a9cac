"""The NOTICE file: what licences require to be said word for word, what was changed, and the base's own notices."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.release.copies import Copy
from toolkit.release.facts import Facts
from toolkit.release.obligations import IN_NOTICE, strings_for


def render_notice(facts: Facts, copies: Iterable[Copy]) -> str:
    """The text of NOTICE. Strings that a licence fixes stand on lines of their own, byte for byte."""
    base = f"{facts.base.name} (revision {facts.base.revision})" if facts.base.revision else facts.base.name
    parts = [f"{facts.name}\n"]
    parts += [f"{line}\n" for line in strings_for(facts.obligations, IN_NOTICE)]
    parts.append(
        f"Changes: {facts.form.made(facts.adapter_type, base)}; trained on {facts.finished:%Y-%m-%d}.\n"
        "The files of this release were made or modified for it; they are not the files of the base model.\n"
    )
    if facts.effective:
        lines = (f"- {item.work} ({item.role}): {item.terms.name} [{item.terms.spdx}]" for item in facts.effective)
        parts.append("Works and their terms:\n" + "\n".join(dict.fromkeys(lines)) + "\n")
    credited = [dataset for dataset in facts.data if dataset.terms]
    if credited:
        lines = (
            f"- {dataset.name}: {dataset.terms.name}" + (f", {dataset.terms.url}" if dataset.terms.url else "")
            for dataset in credited
            if dataset.terms
        )
        parts.append("Trained on:\n" + "\n".join(lines) + "\n")
    if any(owed.id in ("passthrough-restrictions", "bind-users") for owed in facts.obligations):
        parts.append("Whoever receives this release is bound by the use restrictions of the licences in LICENSES/.\n")
    for copy in copies:
        if copy.kind == "notice":
            parts.append(f"Notices that came with {copy.work}:\n\n{copy.words.strip()}\n")
    return "\n".join(parts)
