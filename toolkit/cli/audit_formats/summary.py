"""The summary of an audit as JSON, and a model as JSON: what every machine-readable format says alike."""

from __future__ import annotations

import json

import toolkit
from toolkit.audit.audited import Audit, Audited
from toolkit.audit.outcome import Result
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.vocabulary import vocabulary

SCHEMA = "tk/audit/1"


def summary(audit: Audit, use: IntendedUse) -> dict[str, object]:
    """Counts by verdict, licence, finding and lineage, what fails, and which accepted findings are gone."""
    tally = audit.tally
    return {
        "use": use.to_json(),
        "models": tally.models,
        "verdicts": tally.verdicts(),
        "licenses": tally.licenses(),
        "findings": [{"id": identifier, "severity": severity, "models": models}
                     for (identifier, severity), models in tally.findings().items()],
        "lineages": [{"root": root, "models": sum(verdicts.values()), "verdicts": verdicts}
                     for root, verdicts in tally.roots().items()],
        "fail_on": sorted(audit.fails.named),
        "failing": audit.failing,
        "new": audit.new,
        "gone": [{"model": entry.model, "what": entry.item.what, "license": entry.item.license}
                 for entry in (audit.baseline.gone() if audit.baseline else ())],
        "tool": f"tk {toolkit.__version__}",
        "data": vocabulary().version,
    }  # fmt: skip


def identity(result: Result) -> dict[str, object]:
    """What names a model, as JSON."""
    return {"id": result.id, "source": result.source, "revision": result.revision, "where": result.where}


class ModelLines:
    """Models as lines of JSON. What models alike share is written out once."""

    def __init__(self) -> None:
        self._shared: dict[object, str] = {}

    def line(self, audited: Audited, *, words: bool = True) -> str:
        """A model on one line; with `words`, findings in their own where the model was read by itself."""
        result = audited.result
        head = json.dumps({**identity(result), "roots": list(result.roots)}, ensure_ascii=False)
        if words and result.words:
            return head[:-1] + ", " + self._tail(audited, with_words=True)[1:]
        key = (result.outcome, audited.failing, audited.new)
        if key not in self._shared:
            self._shared[key] = ", " + self._tail(audited, with_words=False)[1:]
        return head[:-1] + self._shared[key]

    def _tail(self, audited: Audited, *, with_words: bool) -> str:
        said = audited.result.outcome.to_json()
        if with_words:
            said["findings"] = [{**words.noted.to_json(), "text": words.text, "where": words.where}
                                for words in audited.result.words]  # fmt: skip
        tail = {**said, "failing": [str(item) for item in audited.failing], "new": [str(item) for item in audited.new]}
        return json.dumps(tail, ensure_ascii=False)
