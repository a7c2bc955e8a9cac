"""The reasoning: every rule of every effective licence against one intended use; the worst outcome wins.

Each licence is judged by itself and never merged with another. Pure: the same lineage, use and library give the same
verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import toolkit
from toolkit.licensing.constraints import Constraint, Facts, Leaf, evaluate, missing
from toolkit.licensing.library import Library
from toolkit.licensing.lineage import Work, conclude
from toolkit.licensing.terms import Rule, Terms
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import Finding, Obligation, Question, Target, Verdict, worst


class Assumption(NamedTuple):
    """A missing fact taken as harmless, for a leaf of one rule of one licence."""

    leaf: Leaf
    license: str
    clause: str


@dataclass(slots=True)
class Judgement:
    """What one licence says to one use."""

    level: str = "allowed"
    obligations: list[Obligation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    assumptions: list[Assumption] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def worsen(self, level: str) -> None:
        self.level = worst([self.level, level])


def judge(
    target: Target, works: tuple[Work, ...], use: IntendedUse, library: Library, *, strict: bool = False
) -> Verdict:
    """The verdict of a use over the works it touches (the target and its lineage, data sets, a student's base).

    `strict` turns every assumption into a question.
    """
    conclusions = [conclude(work, library) for work in works]
    effective = tuple(dict.fromkeys(entry for conclusion in conclusions for entry in conclusion.effective))
    findings = [finding for conclusion in conclusions for finding in conclusion.findings]
    judgements = []
    families = _families(works, use, library)
    for identifier, role in dict.fromkeys((entry.id, entry.role) for entry in effective if entry.id):
        judgements.append(judge_terms(library.terms(identifier), role, use, library, families, strict=strict))
    questions = [question for judgement in judgements for question in judgement.questions]
    if use.distribution is None:
        questions.insert(0, _ask("distribution", "what a licence asks depends on who receives what", library))
    findings += [finding for judgement in judgements for finding in judgement.findings]
    findings += _planned_name(judgements, use)
    levels = [judgement.level for judgement in judgements] + [finding.level for finding in findings if finding.level]
    if questions or any(entry.id is None for entry in effective):
        levels.append("needs-review")
    obligations = dict.fromkeys(obligation for judgement in judgements for obligation in judgement.obligations)
    return Verdict(
        target=target,
        level=worst(levels),
        effective=effective,
        obligations=tuple(obligations),
        findings=tuple(dict.fromkeys(findings)),
        assumptions=tuple(_sentences([entry for judgement in judgements for entry in judgement.assumptions], library)),
        questions=tuple({question.fact: question for question in reversed(questions)}.values())[::-1],
        tool=f"tk {toolkit.__version__}",
        data=library.words.version,
    )


def _families(works: tuple[Work, ...], use: IntendedUse, library: Library) -> tuple[str, ...] | None:
    """The families of what is trained: the student of outputs, the base of a fine-tune, and what they descend from.
    None when that is not known: a model of no known family may be kin all the same unless its lineage was followed."""
    trained = [work for work in works if work.role in ("model", "adapter")]
    lineage = [member for work in trained for member in work.lineage()]
    names = [member.id for member in lineage] + ([use.outputs_train.model] if use.outputs_train else [])
    families = library.words.families_of(names)
    known = lineage and not any(member.problem for member in lineage)
    return families if families or known else None


def judge_terms(
    terms: Terms,
    role: str,
    use: IntendedUse,
    library: Library,
    families: tuple[str, ...] | None = None,
    *,
    strict: bool = False,
) -> Judgement:
    """One licence, in the role it plays, against a use. Policies that the licence incorporates are part of it."""
    acts, needed = _acts(role, use)
    facts = use.facts(library.words, families)
    result = Judgement()
    _permissions(terms, acts, needed, facts, result, library, strict)
    incorporated = [library.terms(policy) for policy, _ in terms.head.incorporates if policy in library.ids]
    for document in (terms, *incorporated):
        for rule in document.rules:
            if rule.kind == "permission" or not rule.trigger & acts:
                continue
            if _binds(rule, rule.when, facts, document, result, library, strict, harmless=False):
                _apply(rule, document, result)
    return result


def _acts(role: str, use: IntendedUse) -> tuple[frozenset[str], frozenset[str]]:
    """The acts that bring rules into play, and those that a permission must cover."""
    if role == "dataset":
        return frozenset({"use", "modify", "train"}), frozenset({"use", "modify"})
    if role == "outputs":
        return frozenset({"use", "train-on-outputs"}), frozenset({"use", "train-on-outputs"})
    return use.acts(), use.acts()


def _permissions(
    terms: Terms,
    acts: frozenset[str],
    needed: frozenset[str],
    facts: Facts,
    result: Judgement,
    library: Library,
    strict: bool,
) -> None:
    for act in sorted(needed):
        rules = [rule for rule in terms.rules if rule.kind == "permission" and act in rule.trigger]
        if not rules:
            meaning = library.words.acts.get(act, act)
            text = f"{terms.head.name} grants nothing that covers {act!r} ({meaning})."
            result.findings.append(Finding("permission-silent", "warning", text, terms.id, None, "needs-review"))
            result.worsen("needs-review")
        elif not any(_holds(rule, facts, strict) for rule in rules):
            _withheld(rules, facts, terms, result, library, strict)
        else:
            granting = next(rule for rule in rules if _holds(rule, facts, strict))
            _note(granting.when, granting, facts, terms, result)


def _holds(rule: Rule, facts: Facts, strict: bool) -> bool:
    return evaluate(rule.when, facts, None if strict else True) is True


def _withheld(rules: list[Rule], facts: Facts, terms: Terms, result: Judgement, library: Library, strict: bool) -> None:
    undecided = [rule for rule in rules if evaluate(rule.when, facts, None if strict else True) is None]
    if undecided:
        for leaf in missing(undecided[0].when, facts):
            result.questions.append(_because(leaf, undecided[0], terms, library))
        result.worsen("needs-review")
        return
    rule = rules[0]
    finding = Finding("use-not-granted", "error", rule.summary, terms.id, rule.clause, rule.otherwise)
    if finding not in result.findings:
        result.findings.append(finding)
    result.worsen(rule.otherwise)


def _binds(
    rule: Rule,
    when: Constraint,
    facts: Facts,
    terms: Terms,
    result: Judgement,
    library: Library,
    strict: bool,
    *,
    harmless: bool,
) -> bool:
    truth = evaluate(when, facts, None if strict else harmless)
    if truth is None:
        for leaf in missing(when, facts):
            if strict or leaf.unknown == "ask":
                result.questions.append(_because(leaf, rule, terms, library))
        result.worsen("needs-review")
        return False
    if truth is False:
        _note(when, rule, facts, terms, result)
    return truth


def _note(when: Constraint, rule: Rule, facts: Facts, terms: Terms, result: Judgement) -> None:
    """Record the facts that were assumed, where without them the rule would not have been decided."""
    if evaluate(when, facts) is None:
        for leaf in missing(when, facts):
            if leaf.unknown == "assume":
                result.assumptions.append(Assumption(leaf, terms.id, rule.clause))


def _apply(rule: Rule, terms: Terms, result: Judgement) -> None:
    if rule.kind == "duty":
        assert rule.obligation is not None
        result.obligations.append(
            Obligation(rule.obligation, terms.id, rule.clause, rule.summary, rule.value, rule.check)
        )
        result.worsen("allowed-with-obligations")
        return
    if rule.kind == "note":
        result.findings.append(Finding(rule.id, "info", rule.summary, terms.id, rule.clause))
        return
    severity = "warning" if rule.outcome == "needs-review" else "error"
    result.findings.append(Finding(rule.id, severity, rule.summary, terms.id, rule.clause, rule.outcome))
    result.worsen(rule.outcome)


def _because(leaf: Leaf, rule: Rule, terms: Terms, library: Library) -> Question:
    return _ask(leaf.operand, f"{terms.head.name} {rule.clause}: {rule.summary}", library)


def _ask(fact: str, because: str, library: Library) -> Question:
    text = library.words.questions.get(fact) or f"What is {fact.replace('_', ' ')}?"
    return Question(fact, text, because)


def _planned_name(judgements: list[Judgement], use: IntendedUse) -> Iterator[Finding]:
    name = use.release.name if use.release else None
    if not name:
        return
    short = name.rsplit("/", 1)[-1]
    for obligation in (obligation for judgement in judgements for obligation in judgement.obligations):
        if obligation.id == "name-prefix" and obligation.value and not short.startswith(obligation.value):
            text = f"The planned name {name!r} must begin with {obligation.value!r}."
            yield Finding(
                "planned-name-breaks-prefix", "error", text, obligation.license, obligation.clause, "needs-review"
            )


def _sentences(assumptions: list[Assumption], library: Library) -> Iterator[str]:
    """One sentence per assumed fact, the values of list-like facts put together, with the clauses that asked."""

    def key(entry: Assumption) -> tuple[str, str, str]:
        lists = isinstance(entry.leaf.value, list | tuple)
        return entry.leaf.operand, entry.leaf.operator, "" if lists else f"{entry.leaf.value} {entry.leaf.month or ''}"

    for (operand, operator, _), group in groupby(sorted(assumptions, key=key), key=key):
        entries = list(group)
        values = dict.fromkeys(
            value
            for entry in entries
            for value in (entry.leaf.value if isinstance(entry.leaf.value, list | tuple) else (entry.leaf.value,))
        )
        yield f"{_phrase(operand, operator, tuple(values), entries[0].leaf.month, library)} ({_clauses(entries)})"


def _clauses(entries: list[Assumption]) -> str:
    """`llama-3.1 2; llama-3.1-aup 1.1, 1.2`: each licence once, its clauses in order."""
    by_license: dict[str, dict[str, None]] = {}
    for entry in entries:
        by_license.setdefault(entry.license, {})[entry.clause] = None
    return "; ".join(f"{name} {', '.join(clauses)}" for name, clauses in by_license.items())


def _phrase(operand: str, operator: str, values: tuple[object, ...], month: str | None, library: Library) -> str:
    name = operand.replace("_", " ") + (f" in {month}" if month else "")
    shown = ", ".join(
        f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value) for value in values
    )
    said = {
        "gt": f"{name}: not above {shown}",
        "gteq": f"{name}: below {shown}",
        "lt": f"{name}: not below {shown}",
        "lteq": f"{name}: above {shown}",
        "isAnyOf": f"{name}: none of {shown}",
        "eq": f"{name}: not {shown}",
    }
    return said.get(operator, f"{name}: {operator} {shown} taken as harmless")
