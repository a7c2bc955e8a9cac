"""The reasoning: every rule of every effective licence against one intended use; the worst outcome wins.

Each licence is judged by itself and never merged with another. Pure: the same lineage, use, library, policy and day
give the same verdict.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import toolkit
from toolkit.licensing.assumptions import sentences
from toolkit.licensing.library import Library
from toolkit.licensing.lineage import Conclusion, Work, conclude
from toolkit.licensing.planned import planned_findings
from toolkit.licensing.reasoning import Judgement, acts_of, ask, judge_terms
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import Finding, Obligation, Question, Target, Verdict, worst

if TYPE_CHECKING:
    from toolkit.licensing.policy import Policy


class Manner(NamedTuple):
    """How strictly a use is judged: `strict` turns every assumption into a question, `explain` keeps every rule that was
    looked at, `policy` is the organisation's own, and `today` (ISO 8601) the day on which its waivers are read."""

    strict: bool = False
    explain: bool = False
    policy: "Policy | None" = None
    today: str = ""


PLAINLY = Manner()


def judge(
    target: Target, works: tuple[Work, ...], use: IntendedUse, library: Library, manner: Manner = PLAINLY
) -> Verdict:
    """The verdict of a use over the works it touches (the target and its lineage, data sets, a student's base)."""
    return judge_concluded(target, works, [conclude(work, library) for work in works], use, library, manner, {})


def judge_concluded(
    target: Target,
    works: tuple[Work, ...],
    conclusions: list[Conclusion],
    use: IntendedUse,
    library: Library,
    manner: Manner,
    judged: dict[object, Judgement],
) -> Verdict:
    """As `judge`, from conclusions drawn before. `judged` keeps what each licence says to this use, library and manner, for
    whoever judges many works."""
    effective = tuple(dict.fromkeys(entry for conclusion in conclusions for entry in conclusion.effective))
    findings = [finding for conclusion in conclusions for finding in conclusion.findings]
    judgements = _judgements(works, conclusions, use, library, manner, judged)
    findings += [finding for judgement in judgements for finding in judgement.findings]
    obligations = _each_once(owed for judgement in judgements for owed in judgement.obligations)
    findings += planned_findings(obligations, effective, use, library)
    questions = [question for judgement in judgements for question in judgement.questions]
    if use.distribution is None:
        questions.insert(0, ask("distribution", "what a licence asks depends on who receives what", library))
    findings = list(dict.fromkeys(findings))
    if manner.policy:
        from toolkit.licensing.policy import apply_policy

        findings, questions, obligations = apply_policy(
            manner.policy, manner.today, effective, findings, questions, obligations, use, library
        )
    levels = [finding.level for finding in findings if finding.level]
    if obligations:
        levels.append("allowed-with-obligations")
    if questions or not works:  # a work whose licence is not known has a finding that says so, with a level
        levels.append("needs-review")
    return Verdict(
        target=target,
        level=worst(["allowed", *levels]),
        effective=effective,
        obligations=obligations,
        findings=tuple(findings),
        assumptions=tuple(sentences(entry for judgement in judgements for entry in judgement.assumptions)),
        questions=_one_per_fact(questions),
        tool=f"tk {toolkit.__version__}",
        data=library.words.version,
        considered=tuple(entry for judgement in judgements for entry in judgement.considered),
    )


def _judgements(
    works: tuple[Work, ...],
    conclusions: list[Conclusion],
    use: IntendedUse,
    library: Library,
    manner: Manner,
    judged: dict[object, Judgement],
) -> list[Judgement]:
    """Each licence once in each role that it plays in a work's lineage."""
    families = _families(works, use, library)
    result = []
    seen: set[tuple[object, ...]] = set()
    for work, conclusion in zip(works, conclusions, strict=True):
        stated = use._replace(modalities=_modalities(work, use))
        facts = stated.facts(library.words, families)
        for entry in conclusion.effective:
            key = (entry.id, entry.role, work.through_data, stated.modalities)
            if entry.id is None or key in seen:
                continue
            seen.add(key)
            said = judged.get((*key, families))
            if said is None:
                acts = acts_of(entry.role, use, through_data=work.through_data)
                terms = library.terms(entry.id)
                said = judge_terms(
                    terms, entry.role, acts, facts, library, strict=manner.strict, explain=manner.explain
                )
                judged[*key, families] = said
            findings = [_reaching(finding, work) for finding in said.findings] if work.through_data else said.findings
            under = tuple(
                sorted({other.work for side in conclusions for other in side.effective if other.id == entry.id})
            )
            findings = [finding._replace(works=under) for finding in findings]
            questions = [question._replace(works=under) for question in said.questions]
            result.append(replace(said, findings=findings, questions=questions))
    return result


def _reaching(finding: Finding, work: Work) -> Finding:
    """What a model's licence forbids, for somebody who only received data that the model wrote. The licence binds
    whoever ran the model; whether it reaches further is unsettled, so a person must look."""
    if finding.level not in ("prohibited", "needs-separate-license"):
        return finding
    text = f"{finding.text} {work.id} speaks here through data: {work.where}. Whether that binds who only got the data is unsettled."
    return finding._replace(level="needs-review", severity="warning", text=text)


def _modalities(work: Work, use: IntendedUse) -> tuple[str, ...] | None:
    """What goes in and out: what the use states and what the models can do, taken together, since a model may be
    multimodal though a use of it is not. None when neither is known."""
    modes = {mode for member in work.lineage() for mode in member.modalities or ()} | {*(use.modalities or ())}
    return tuple(sorted(modes)) or None


def _families(works: tuple[Work, ...], use: IntendedUse, library: Library) -> tuple[str, ...] | None:
    """The families of what is trained: the student of outputs, the base of a fine-tune, and what they descend from.
    None when that is not known: a model of no known family may be kin all the same unless its lineage was followed.
    Only outputs, or data under the licence of whatever wrote it, ask for them."""
    if all(work.role in ("model", "adapter") for work in works):
        return None
    trained = [work for work in works if work.role in ("model", "adapter")]
    lineage = [member for work in trained for member in work.lineage()]
    names = [member.id for member in lineage] + ([use.outputs_train.model] if use.outputs_train else [])
    families = library.words.families_of(names)
    known = lineage and not any(member.problem for member in lineage)
    return families if families or known else None


def _each_once(obligations: Iterable[Obligation]) -> tuple[Obligation, ...]:
    """What several rules of a licence, or several works under it, ask alike is owed once."""
    first: dict[tuple[str | None, ...], Obligation] = {}
    for owed in obligations:
        key = (owed.id, owed.license, owed.clause, owed.value)
        first[key] = min(first.get(key, owed), owed, key=lambda item: (item.text, item.check, item.rule or ""))
    return tuple(first.values())


def _one_per_fact(questions: list[Question]) -> tuple[Question, ...]:
    """The first question for each fact, in order."""
    first: dict[str, Question] = {}
    for question in questions:
        first.setdefault(question.fact, question)
    return tuple(first.values())
