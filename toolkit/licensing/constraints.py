"""When a rule binds: constraints over facts, in three values (true, false, unknown).

Kleene's strong logic: a conjunction with one false part is false whatever the unknown parts are, so a missing fact
matters only where it decides. A leaf says what its missing fact does: `ask` turns it into a question, `assume` takes
the harmless value and says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from toolkit.licensing.vocabulary import WORLD, Vocabulary

Truth = bool | None  # None is unknown
COUNTRY_OPERANDS = frozenset({"seat", "territories"})


class Leaf(NamedTuple):
    """`operand operator value`; `month` freezes the clock of a user count."""

    operand: str
    operator: str
    value: object
    unknown: Literal["ask", "assume"] = "ask"
    month: str | None = None


class Group(NamedTuple):
    """`all`, `any` or `not` of constraints."""

    how: Literal["all", "any", "not"]
    parts: tuple["Constraint", ...]


Constraint = Leaf | Group
ALWAYS = Group("all", ())


class Facts(NamedTuple):
    """What is known of a use, by operand. A fact that nobody stated has no entry."""

    values: Mapping[str, object]
    words: Vocabulary

    def truth(self, leaf: Leaf) -> Truth:
        """Whether the leaf holds, or None when its fact is missing."""
        known = self._value(leaf)
        if known is None:
            return None
        if isinstance(known, tuple) or leaf.operand in COUNTRY_OPERANDS:
            return self._compare_set(leaf, known if isinstance(known, tuple) else (str(known),))
        return _compare(leaf.operator, known, leaf.value)

    def _value(self, leaf: Leaf) -> object:
        known = self.values.get(leaf.operand)
        if isinstance(known, Mapping):
            return known.get(leaf.month) if leaf.month else max(known.values(), default=None)
        return known

    def _within(self, known: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
        """Whether every country that is named, or belongs to a group that is named, is one of those wanted."""
        members = {code for name in known for code in self.words.country_groups.get(name, {name})}
        return members <= self.words.countries(wanted)

    def _compare_set(self, leaf: Leaf, known: tuple[str, ...]) -> Truth:
        wanted = tuple(leaf.value) if isinstance(leaf.value, list | tuple) else (str(leaf.value),)
        if leaf.operand in COUNTRY_OPERANDS:
            everywhere = WORLD in known
            overlap = everywhere or bool(self.words.countries(known) & self.words.countries(wanted))
            if leaf.operand == "seat" and overlap and not self._within(known, wanted):
                return None  # one seat, somewhere in a group of which only a part is meant
        else:
            overlap = bool(set(known) & set(wanted))
        return not overlap if leaf.operator in ("isNoneOf", "neq") else overlap


def evaluate(constraint: Constraint, facts: Facts, assumed: bool | None = None) -> Truth:
    """Truth of a constraint. `assumed` is the value that leaves with `unknown: assume` take when their fact is missing;
    without it they stay unknown."""
    if isinstance(constraint, Leaf):
        truth = facts.truth(constraint)
        return assumed if truth is None and constraint.unknown == "assume" else truth
    if constraint.how == "not":
        truth = evaluate(constraint.parts[0], facts, None if assumed is None else not assumed)
        return None if truth is None else not truth
    values = [evaluate(part, facts, assumed) for part in constraint.parts]
    return _all(values) if constraint.how == "all" else _any(values)


def missing(constraint: Constraint, facts: Facts) -> Iterator[Leaf]:
    """The leaves whose fact is missing, leaving out parts that other parts have already decided."""
    if isinstance(constraint, Leaf):
        if facts.truth(constraint) is None:
            yield constraint
    elif evaluate(constraint, facts) is None:
        for part in constraint.parts:
            yield from missing(part, facts)


def leaves(constraint: Constraint) -> Iterator[Leaf]:
    """Every leaf of a constraint."""
    if isinstance(constraint, Leaf):
        yield constraint
    else:
        for part in constraint.parts:
            yield from leaves(part)


def describe(constraint: Constraint, facts: Facts) -> str:
    """The leaves of a constraint and what is known of each: `commercial eq true: no; seat isAnyOf EU: not known`."""
    said = {True: "yes", False: "no", None: "not known"}
    parts = []
    for leaf in leaves(constraint):
        value = ", ".join(str(item) for item in leaf.value) if isinstance(leaf.value, tuple) else str(leaf.value)
        month = f" in {leaf.month}" if leaf.month else ""
        truth = facts.truth(leaf)
        assumed = ", taken as harmless" if truth is None and leaf.unknown == "assume" else ""
        parts.append(f"{leaf.operand}{month} {leaf.operator} {value}: {said[truth]}{assumed}")
    return "; ".join(parts)


def _compare(operator: str, known: object, value: object) -> bool:
    match operator:
        case "eq":
            return known == value
        case "neq":
            return known != value
        case "isAnyOf":
            return known in _many(value)
        case "isNoneOf":
            return known not in _many(value)
    left, right = float(known), float(value)  # type: ignore[arg-type]
    return {"gt": left > right, "gteq": left >= right, "lt": left < right, "lteq": left <= right}[operator]


def _many(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _all(values: Iterable[Truth]) -> Truth:
    result: Truth = True
    for value in values:
        if value is False:
            return False
        result = None if value is None else result
    return result


def _any(values: Iterable[Truth]) -> Truth:
    result: Truth = False
    for value in values:
        if value is True:
            return True
        result = None if value is None else result
    return result
