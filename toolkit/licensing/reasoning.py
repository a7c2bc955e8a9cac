"""One licence against one use: each of its rules is granted, withheld, binding, idle or undecided."""

from dataclasses import dataclass, field
from typing import NamedTuple

from toolkit.licensing.constraints import Facts, Leaf, Truth, describe, evaluate, leaves, missing
from toolkit.licensing.library import Library
from toolkit.licensing.terms import Rule, Terms
from toolkit.licensing.use import IntendedUse
from toolkit.licensing.verdict import Considered, Finding, Obligation, Question


class Assumption(NamedTuple):
    """A missing fact taken as harmless, for a leaf of one rule of one licence."""

    leaf: Leaf
    license: str
    rule: str
    clause: str


class Acts(NamedTuple):
    """The acts that bring rules into play, and those that a permission must cover."""

    triggering: frozenset[str]
    needed: frozenset[str]


@dataclass(slots=True)
class Judgement:
    """What one licence says to one use."""

    obligations: list[Obligation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    assumptions: list[Assumption] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    considered: list[Considered] = field(default_factory=list)


def acts_of(role: str, use: IntendedUse, *, through_data: bool = False) -> Acts:
    """What a use does with a work of the lineage. Whoever trains on data that a model wrote does not use that model:
    only what its licence says of such training speaks to them."""
    if role == "dataset":
        return Acts(frozenset({"use", "modify", "train"}), frozenset({"use", "modify"}))
    if role == "outputs" and through_data:
        return Acts(frozenset({"train"}), frozenset())
    if role == "outputs":
        return Acts(frozenset({"use", "train-on-outputs"}), frozenset({"use", "train-on-outputs"}))
    return Acts(use.acts(), use.acts())


def judge_terms(
    terms: Terms, role: str, acts: Acts, facts: Facts, library: Library, *, strict: bool = False, explain: bool = False
) -> Judgement:
    """One licence, in the role it plays, against the facts of a use. Policies that it incorporates are part of it."""
    return _Reading(terms, role, acts, facts, library, strict, explain).judgement()


class _Reading:
    def __init__(
        self, terms: Terms, role: str, acts: Acts, facts: Facts, library: Library, strict: bool, explain: bool
    ) -> None:
        self.terms = terms
        self.role = role
        self.acts = acts
        self.facts = facts
        self.library = library
        self.strict = strict
        self.explain = explain
        self.result = Judgement()

    def judgement(self) -> Judgement:
        if self.terms.head.unread:
            text = f"The text of {self.terms.head.name} was not read: {self.terms.head.unread.rstrip('.')}."
            self.result.findings.append(
                Finding("license-text-not-read", "warning", text, self.terms.id, level="needs-review")
            )
            return self.result
        self._permissions()
        policies = [policy for policy, _ in self.terms.head.incorporates if policy in self.library.ids]
        for document in (self.terms, *(self.library.terms(policy) for policy in policies)):
            for rule in document.rules:
                if rule.kind != "permission":
                    self._rule(rule, document)
        return self.result

    def _permissions(self) -> None:
        permissions = [rule for rule in self.terms.rules if rule.kind == "permission"]
        for rule in permissions if self.explain else ():
            self._explain_permission(rule)
        withheld: dict[str, Rule] = {}
        for act in sorted(self.acts.needed):
            rules = [rule for rule in permissions if act in rule.trigger]
            granting = next((rule for rule in rules if self._granted(rule) is True), None)
            if granting:
                self._note_assumptions(granting, self.terms)
            elif not rules:
                meaning = self.library.words.acts.get(act, act)
                text = f"{self.terms.head.name} grants nothing that covers {act!r} ({meaning})."
                finding = Finding("permission-silent", "warning", text, self.terms.id, None, "needs-review")
                self.result.findings.append(finding)
            elif undecided := [rule for rule in rules if self._granted(rule) is None]:
                self._ask(undecided[0], self.terms)
            else:
                withheld.setdefault(rules[0].id, rules[0])
        for rule in withheld.values():
            facts = tuple(leaf.operand for leaf in leaves(rule.when))
            finding = Finding(
                "use-not-granted",
                "error",
                rule.summary,
                self.terms.id,
                rule.clause,
                rule.otherwise,
                rule.id,
                None,
                facts,
            )
            self.result.findings.append(finding)

    def _granted(self, rule: Rule) -> Truth:
        return evaluate(rule.when, self.facts, None if self.strict else True)

    def _rule(self, rule: Rule, document: Terms) -> None:
        if not rule.trigger & self.acts.triggering:
            self._explain(rule, document, "not-triggered", f"no act of this use is {', '.join(sorted(rule.trigger))}")
            return
        truth = evaluate(rule.when, self.facts, None if self.strict else False)
        if truth is None and rule.kind != "note":
            self._ask(rule, document)
            self._explain(rule, document, "undecided")
        elif truth:
            self._apply(rule, document)
            self._explain(rule, document, "binds")
        else:
            self._note_assumptions(rule, document)
            self._explain(rule, document, "does-not-bind")

    def _apply(self, rule: Rule, document: Terms) -> None:
        if rule.kind == "duty":
            assert rule.obligation is not None
            owed = Obligation(rule.obligation, document.id, rule.clause, rule.summary, rule.value, rule.check, rule.id)
            self.result.obligations.append(owed)
            return
        severity = "info" if rule.kind == "note" else "warning" if rule.outcome == "needs-review" else "error"
        level = None if rule.kind == "note" else rule.outcome
        facts = tuple(leaf.operand for leaf in leaves(rule.when))
        self.result.findings.append(
            Finding(rule.id, severity, rule.summary, document.id, rule.clause, level, rule.id, None, facts)
        )

    def _ask(self, rule: Rule, document: Terms) -> None:
        """A question for each missing fact that decides; an assumable one decides only where assuming was not enough."""
        for leaf in missing(rule.when, self.facts):
            if self.strict or leaf.unknown == "ask":
                because = f"{document.head.name} {rule.clause}: {rule.summary}"
                outcome = {"permission": rule.otherwise, "prohibition": rule.outcome}.get(rule.kind)
                question = ask(leaf.operand, because, self.library)
                self.result.questions.append(question._replace(license=document.id, rule=rule.id, outcome=outcome))

    def _note_assumptions(self, rule: Rule, document: Terms) -> None:
        """Record the facts that were assumed, where without them the rule would not have been decided."""
        if rule.kind != "note" and evaluate(rule.when, self.facts) is None:
            for leaf in missing(rule.when, self.facts):
                if leaf.unknown == "assume":
                    self.result.assumptions.append(Assumption(leaf, document.id, rule.id, rule.clause))

    def _explain_permission(self, rule: Rule) -> None:
        if not rule.trigger & self.acts.needed:
            self._explain(rule, self.terms, "not-triggered", "this use needs none of the acts it grants")
        else:
            outcome = {True: "granted", False: "withheld", None: "undecided"}[self._granted(rule)]
            self._explain(rule, self.terms, outcome)

    def _explain(self, rule: Rule, document: Terms, outcome: str, why: str | None = None) -> None:
        if self.explain:
            why = why or describe(rule.when, self.facts) or "no condition"
            self.result.considered.append(
                Considered(document.id, self.role, rule.id, rule.kind, rule.clause, outcome, why)
            )


def ask(fact: str, because: str, library: Library) -> Question:
    """The question for a fact, in the vocabulary's words."""
    text = library.words.questions.get(fact) or f"What is {fact.replace('_', ' ')}?"
    return Question(fact, text, because)
