"""The gate between a verdict and training: it alone makes a `Permit`, and training takes nothing less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from toolkit.errors import Refused, TkError
from toolkit.files.digests import sha256_json
from toolkit.licensing.verdict import Verdict
from toolkit.planning.recipe import Recipe

_SEAL = object()


@dataclass(frozen=True)
class Permit:
    """Leave to train one recipe under one verdict. `acknowledged` is who answers for a needs-review, and why."""

    granted: str  # ISO 8601, UTC
    verdict: str
    verdict_sha256: str
    recipe_sha256: str
    acknowledged: str | None
    seal: object = None

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise TypeError("only toolkit.planning.gate.grant makes a Permit")

    def to_json(self) -> dict[str, object]:
        return {
            "granted": self.granted,
            "verdict": self.verdict,
            "acknowledged": self.acknowledged,
            "verdict_sha256": self.verdict_sha256,
            "recipe_sha256": self.recipe_sha256,
        }


def grant(verdict: Verdict, recipe: Recipe, acknowledgement: str | None = None) -> Permit:
    """Leave to train, or Refused: exit 3 for a prohibition, which nobody can acknowledge, 4 for an open review."""
    if verdict.level in ("prohibited", "needs-separate-license"):
        hint = "change the base or the use; an acknowledgement does not lift this"
        raise Refused(_sentence(verdict), exit_code=3, where=recipe.path, hint=hint)
    if verdict.level == "needs-review" and not (acknowledgement and acknowledgement.strip()):
        hint = 'answer the questions in `use:`, or have it reviewed and pass --acknowledge "who, ticket"'
        raise Refused(_sentence(verdict), exit_code=4, where=recipe.path, hint=hint)
    return Permit(
        granted=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict.level,
        verdict_sha256=sha256_json(verdict.to_json()),
        recipe_sha256=recipe.sha256,
        acknowledged=acknowledgement.strip() if acknowledgement and verdict.level == "needs-review" else None,
        seal=_SEAL,
    )


def readmit(paper: Mapping[str, object], verdict: Verdict, recipe: Recipe) -> Permit:
    """The permit that `grant` gave in another process, from its JSON. Verdict and recipe go through the gate again.

    Raises Refused as `grant` does, and TkError where they are not those that the permit was granted for.
    """
    acknowledged = paper["acknowledged"]
    again = grant(verdict, recipe, None if acknowledged is None else str(acknowledged))
    if {**again.to_json(), "granted": paper["granted"]} != dict(paper):
        raise TkError("the permit was granted for another recipe or verdict", where=recipe.path)
    return replace(again, granted=str(paper["granted"]))


def _sentence(verdict: Verdict) -> str:
    reasons = [finding.text for finding in verdict.findings if finding.level == verdict.level]
    reasons += [question.text for question in verdict.questions]
    return f"training refused, the verdict is {verdict.level}: {reasons[0] if reasons else 'see tk license-check'}"
