"""A licence as data: its rules with clauses, how cards declare it, and the models known to be under it.

One YAML file per licence in `licenses/`. The part above the line `rules:` is its head; heads are read when a library
is opened, rules only when a licence is judged, because `tk license-check` must start fast however many licences ship.
"""

from collections.abc import Mapping
from typing import NamedTuple

from toolkit.files.schema import AnyOf, Flag, Key, Kind, ListOf, MapOf, Number, Record, Report, Text
from toolkit.files.strict_yaml import Path_
from toolkit.licensing.constraints import ALWAYS, Constraint, Group, Leaf
from toolkit.licensing.vocabulary import DISTRIBUTIONS, MODALITIES, OPERATORS, RECIPIENTS, Vocabulary

KINDS = ("permission", "prohibition", "duty", "note")
OUTCOMES = ("prohibited", "needs-separate-license", "needs-review")


class ModelPattern(NamedTuple):
    """Models known to be under a licence: a glob over hub ids, and what is known of them beside: the works they
    descend from, and what goes in and comes out."""

    match: str
    confidence: str
    evidence: str
    base: tuple[str, ...] = ()
    released: str | None = None
    modalities: tuple[str, ...] | None = None


class TermsHead(NamedTuple):
    """What identifies a licence. `hub_keys` and `hub_names` are the `license` and `license_name` values that mean it,
    and `unread` why its text could not be read, where it could not."""

    id: str
    name: str
    spdx: str
    subject: str
    licensor: str | None
    url: str | None
    dated: str | None
    version: str | None
    source: Mapping[str, object]
    hub_keys: tuple[str, ...]
    hub_names: tuple[str, ...]
    incorporates: tuple[tuple[str, str], ...]  # (policy id, clause)
    models: tuple[ModelPattern, ...]
    unread: str | None = None


class Rule(NamedTuple):
    """One permission, prohibition or duty of a licence, with the clause it stands in. A note binds nobody: it tells a
    reader what they should know when the rule's condition holds."""

    id: str
    kind: str
    topic: str
    trigger: frozenset[str]
    clause: str
    summary: str
    when: Constraint = ALWAYS
    outcome: str = "prohibited"
    otherwise: str = "prohibited"
    obligation: str | None = None
    value: str | None = None
    check: str = "attest"


class Terms(NamedTuple):
    """A licence with its rules. `spoken` are (topic, clause, summary) that bind no act a use can state."""

    head: TermsHead
    rules: tuple[Rule, ...]
    spoken: tuple[tuple[str, str, str], ...]
    silent: tuple[str, ...]
    not_read: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.head.id


def head_shape() -> Record:
    """What may stand above `rules:`."""
    pattern = Record(
        {
            "match": Key(ModelGlob(), required=True),
            "confidence": Key(Text(("high", "medium", "low")), required=True),
            "evidence": Key(Text(), required=True),
            "base": Key(ListOf(Text(), or_one=True)),
            "released": Key(Text()),
            "modalities": Key(ListOf(Text(MODALITIES))),
            "note": Key(Text()),
        }
    )
    policy = Record({"id": Key(Text(), required=True), "clause": Key(Text(accept_number=True), required=True)})
    return Record(
        {
            "id": Key(Text(), required=True),
            "name": Key(Text(), required=True),
            "spdx": Key(Text(), required=True),
            "subject": Key(Text(("model", "data", "policy")), required=True),
            "licensor": Key(Text()),
            "version": Key(Text(accept_number=True)),
            "dated": Key(Text(accept_number=True)),
            "url": Key(Text()),
            "source": Key(MapOf(Text(accept_number=True)), required=True),
            "hub": Key(Record({"license": Key(ListOf(Text())), "license_name": Key(ListOf(Text()))})),
            "incorporates": Key(ListOf(policy)),
            "mentions": Key(ListOf(Text())),
            "unread": Key(Text()),
            "models": Key(ListOf(pattern)),
        }
    )


class ModelGlob:
    """A glob over hub ids. The organisation is spelt out, so that a library finds the licences that may match at all."""

    def read(self, value: object, path: Path_, report: Report) -> str | None:
        organisation, slash, name = str(value).partition("/")
        if not isinstance(value, str) or not slash or not name or not organisation or "*" in organisation:
            report.add(path, f"must be organisation/name, `*` in the name only, not {value!r}")
            return None
        return value

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": "^[^*/]+/.+$"}


def make_head(raw: Mapping[str, object]) -> TermsHead:
    """The head of a licence from its checked mapping."""
    get = dict(raw).get
    hub: Mapping[str, tuple[str, ...]] = get("hub") or {}  # type: ignore[assignment]
    return TermsHead(
        id=str(get("id")),
        name=str(get("name")),
        spdx=str(get("spdx")),
        subject=str(get("subject")),
        licensor=_text(get("licensor")),
        url=_text(get("url")),
        dated=_text(get("dated")),
        version=_text(get("version")),
        source=get("source") or {},  # type: ignore[arg-type]
        hub_keys=hub.get("license", ()),
        hub_names=hub.get("license_name", ()),
        incorporates=tuple((entry["id"], entry["clause"]) for entry in get("incorporates") or ()),  # type: ignore[attr-defined]
        models=tuple(
            ModelPattern(
                entry["match"],
                entry["confidence"],
                entry["evidence"],
                entry.get("base", ()),
                entry.get("released"),
                entry.get("modalities"),
            )
            for entry in get("models") or ()  # type: ignore[attr-defined]
        ),
        unread=_text(get("unread")),
    )


def body_shape(words: Vocabulary) -> Record:
    """What may stand in a whole licence file."""
    topic = Key(Text(tuple(words.topics)), required=True)
    clause = Key(Text(accept_number=True), required=True)
    summary = Key(Text(), required=True)
    rule = RuleKind(
        Record(
            {
                "id": Key(Text(), required=True),
                "kind": Key(Text(KINDS), required=True),
                "topic": topic,
                "trigger": Key(ListOf(Text(tuple(words.acts))), required=True),
                "when": Key(ListOf(ConstraintKind(words))),
                "clause": clause,
                "summary": summary,
                "outcome": Key(Text(OUTCOMES)),
                "otherwise": Key(Text(OUTCOMES)),
                "obligation": Key(Text(tuple(words.obligations))),
                "value": Key(Text()),
                "check": Key(Text(("automatic", "attest"))),
            }
        )
    )
    spoken = Record({"topic": topic, "clause": clause, "summary": summary})
    topics = ListOf(Text(tuple(words.topics)))
    topic_keys = Record({"spoken": Key(ListOf(spoken)), "silent": Key(topics), "not_read": Key(topics)})
    head = head_shape()
    return Record({**head.keys, "rules": Key(ListOf(rule), required=True), "topics": Key(topic_keys)})


def make_terms(raw: Mapping[str, object]) -> Terms:
    """A licence from its checked mapping."""
    topics: Mapping[str, tuple[str, ...]] = raw.get("topics", {})  # type: ignore[assignment]
    spoken: tuple[Mapping[str, str], ...] = topics.get("spoken", ())  # type: ignore[assignment]
    return Terms(
        head=make_head(raw),
        rules=raw["rules"],  # type: ignore[arg-type]
        spoken=tuple((entry["topic"], entry["clause"], entry["summary"]) for entry in spoken),
        silent=topics.get("silent", ()),
        not_read=topics.get("not_read", ()),
    )


class RuleKind:
    """A rule, with the keys that its kind of rule may and must have."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def read(self, value: object, path: Path_, report: Report) -> Rule | None:
        before = len(report.problems)
        raw = self.record.read(value, path, report)
        if len(report.problems) > before or not isinstance(raw, dict):
            return None
        own = {"prohibition": {"outcome"}, "permission": {"otherwise"}, "duty": {"obligation", "value", "check"}}
        for kind, names in own.items():
            for name in names & raw.keys() if kind != raw["kind"] else ():
                report.add((*path, name), f"belongs to a {kind}, and this is a {raw['kind']}")
        if raw["kind"] == "duty" and "obligation" not in raw:
            report.add((*path, "obligation"), "is missing: a duty says what is owed")
        if not raw["trigger"]:
            report.add((*path, "trigger"), "is empty: name the acts that bring the rule into play")
        raw["when"] = Group("all", raw.get("when", ()))
        raw["trigger"] = frozenset(raw["trigger"])
        return Rule(**raw)

    def json_schema(self) -> dict[str, object]:
        return self.record.json_schema()


class ConstraintKind:
    """A constraint: a leaf, or `all`, `any`, `not` of constraints."""

    def __init__(self, words: Vocabulary) -> None:
        self.leaf = _leaf_record(words)
        self.words: dict[str, tuple[str, ...]] = {
            "fields": tuple(words.fields),
            "businesses": tuple(words.businesses),
            "outputs_family": tuple(words.families),
            "modalities": MODALITIES,
            "distribution": DISTRIBUTIONS,
            "recipients": RECIPIENTS,
        }

    def read(self, value: object, path: Path_, report: Report) -> Constraint | None:
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("all", "any", "not"):
            how, inner = next(iter(value.items()))
            parts = [inner] if how == "not" and not isinstance(inner, list) else inner
            if not isinstance(parts, list) or not parts or (how == "not" and len(parts) != 1):
                report.add((*path, how), "must be a list of constraints" if how != "not" else "must be one constraint")
                return None
            made = [self.read(part, (*path, how, index), report) for index, part in enumerate(parts)]
            return Group(how, tuple(part for part in made if part is not None))
        raw = self.leaf.read(value, path, report)
        if not isinstance(raw, dict) or not {"operand", "operator", "value"} <= raw.keys():
            return None
        if raw["operator"] in ("gt", "gteq", "lt", "lteq") and not isinstance(raw["value"], int | float):
            report.add((*path, "value"), f"must be a number for the operator {raw['operator']}")
        for word in raw["value"] if isinstance(raw["value"], tuple) else (raw["value"],):
            if known := self.words.get(raw["operand"]):
                Text(known).read(word, (*path, "value"), report)
        return Leaf(**raw)

    def json_schema(self) -> dict[str, object]:
        return self.leaf.json_schema()


def _leaf_record(words: Vocabulary) -> Record:
    scalar: tuple[Kind, ...] = (Flag(), Number(), Text())
    value = AnyOf((*scalar, ListOf(Text())), "text, a number, true or false, or a list of texts")
    return Record(
        {
            "operand": Key(Text(tuple(words.operands)), required=True),
            "operator": Key(Text(OPERATORS), required=True),
            "value": Key(value, required=True),
            "unknown": Key(Text(("ask", "assume"))),
            "month": Key(Text()),
        }
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
