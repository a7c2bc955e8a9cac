"""The intended use: the acts and facts a person states. A fact that is not stated is unknown, never false."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from toolkit.files.schema import AnyOf, Flag, Key, ListOf, MapOf, Number, Record, Report, Text
from toolkit.files.strict_yaml import Path_
from toolkit.licensing.constraints import Facts
from toolkit.licensing.vocabulary import DISTRIBUTIONS, MODALITIES, RECIPIENTS, WORLD, Vocabulary

_ACTS = {
    "internal": {"use"},
    "hosted-service": {"use", "host", "product-uses", "product-contains"},
    "weights": {"use", "distribute"},
    "embedded-product": {"use", "distribute", "product-contains", "product-uses"},
    "evaluation": {"use", "evaluate"},
}


class OutputsTrain(NamedTuple):
    """Another model is improved with this one's outputs."""

    model: str
    distributed: bool | None = None

    def to_json(self) -> dict[str, object]:
        return _stated(self)


class DatasetUse(NamedTuple):
    """A data set trained on, and the licence it is said to have."""

    id: str
    license: str | None = None

    def to_json(self) -> dict[str, object]:
        return _stated(self)


class PlannedRelease(NamedTuple):
    """The name and the licence that the result is meant to carry."""

    name: str | None = None
    license: str | None = None

    def to_json(self) -> dict[str, object]:
        return _stated(self)


class IntendedUse(NamedTuple):
    """What a person means to do. Money in US dollars; users are monthly active users."""

    purpose: str | None = None
    commercial: bool | None = None
    distribution: str | None = None
    recipients: str | None = None
    modified: bool | None = None
    seat: str | None = None
    territories: tuple[str, ...] | None = None
    product_monthly_active_users: int | None = None
    group_monthly_active_users: int | Mapping[str, int] | None = None
    group_annual_revenue_usd: float | None = None
    product_monthly_revenue_usd: float | None = None
    businesses: tuple[str, ...] | None = None
    modalities: tuple[str, ...] | None = None
    fields: tuple[str, ...] | None = None
    outputs_train: OutputsTrain | None = None
    obtained: str | None = None
    datasets: tuple[DatasetUse, ...] = ()
    release: PlannedRelease | None = None

    def to_json(self) -> dict[str, object]:
        """Only what was stated, in the keys of a use file."""
        return _stated(self)

    def is_modified(self) -> bool:
        """Whether the weights are changed. True unless denied: fine-tuning is what the toolkit is for."""
        return self.modified is not False

    def acts(self) -> frozenset[str]:
        """The acts that the stated distribution amounts to; only `use` while the distribution is unknown."""
        acts = set(_ACTS.get(self.distribution or "", {"use"}))
        if self.distribution == "internal" and self.recipients in ("affiliates", "contractors"):
            acts.add("share-beyond-entity")
        if self.is_modified():
            acts.add("modify")
        return frozenset(acts)

    def facts(self, words: Vocabulary, families: tuple[str, ...] | None = None) -> Facts:
        """The stated facts by operand, as rules ask for them. `families` are those of the model that is trained, where
        they are known."""
        values: dict[str, object] = {
            name: getattr(self, name) for name in _PLAIN_OPERANDS if getattr(self, name) is not None
        }
        values["modified"] = self.is_modified()
        values["obtained"] = self.obtained or "direct"  # a vendor's finished product is the exception, and is stated
        if families is not None:
            values["outputs_family"] = families
        if self.outputs_train is not None and self.outputs_train.distributed is not None:
            values["outputs_distributed"] = self.outputs_train.distributed
        if self.release is not None and self.release.name:
            values["release_name"] = self.release.name
        if self.release is not None and self.release.license:
            values["release_license"] = self.release.license.lower()  # SPDX ids are compared without case
        return Facts(values, words)


FACTS = IntendedUse._fields
_PLAIN_OPERANDS = (
    "commercial", "distribution", "recipients", "seat", "territories", "product_monthly_active_users",
    "group_monthly_active_users", "group_annual_revenue_usd", "product_monthly_revenue_usd", "businesses",
    "modalities", "fields", "obtained",
)  # fmt: skip


def use_shape(words: Vocabulary) -> Record:
    """What a use file, or `use:` in a recipe, may say."""
    count = Number(minimum=0, whole=True)
    country = Country(words)
    outputs = Record({"model": Key(Text(), required=True), "distributed": Key(Flag())}, OutputsTrain)
    dataset = Record({"id": Key(Text(), required=True), "license": Key(Text())}, DatasetUse)
    keys = {
        "purpose": Key(Text(), "What it is for, in words; goes on the model card"),
        "commercial": Key(Flag(), "Whether the use is commercial"),
        "distribution": Key(Text(DISTRIBUTIONS), "Who gets what"),
        "recipients": Key(Text(RECIPIENTS), "For internal: who receives it"),
        "modified": Key(Flag(), "Whether the weights are changed", default=True),
        "seat": Key(country, "Country of the licensee's principal place of business (ISO 3166)"),
        "territories": Key(ListOf(country, or_one=True), "Where it is used: countries, EU, or WORLD"),
        "product_monthly_active_users": Key(count, "Monthly active users of this product, now"),
        "group_monthly_active_users": Key(
            AnyOf((count, MapOf(count, _month)), "a whole number, or whole numbers by month such as {\"2024-06\": 300000000}"),
            "Monthly active users of all products, affiliates included; by month, or one number for any month",
        ),
        "group_annual_revenue_usd": Key(Number(minimum=0), "Yearly revenue of the group, US dollars"),
        "product_monthly_revenue_usd": Key(Number(minimum=0), "Monthly revenue of this product, US dollars"),
        "businesses": Key(ListOf(Text(tuple(words.businesses)), or_one=True), "What the group does"),
        "modalities": Key(ListOf(Text(MODALITIES), or_one=True), "What goes in and out"),
        "fields": Key(ListOf(Text(tuple(words.fields)), or_one=True), "Fields of use"),
        "outputs_train": Key(outputs, "Another model improved with this one's outputs"),
        "obtained": Key(Text(("direct", "integrated-product")), "How the model was received", default="direct"),
        "datasets": Key(ListOf(dataset), "Data trained on"),
        "release": Key(Record({"name": Key(Text()), "license": Key(Text())}, PlannedRelease), "Planned name and licence"),
    }  # fmt: skip
    return Record(
        keys, IntendedUse, renamed={"users": "product_monthly_active_users", "license": "release: {license: …}"}
    )


class Country:
    """An ISO 3166 alpha-2 code, a country group of the vocabulary, or WORLD."""

    def __init__(self, words: Vocabulary) -> None:
        self.words = words

    def read(self, value: object, path: Path_, report: Report) -> object:
        text = str(value).upper() if isinstance(value, str) else ""
        text = {"UK": "GB", "WORLDWIDE": WORLD}.get(text, text)
        if re.fullmatch(r"[A-Z]{2}", text) or text in self.words.country_groups or text == WORLD:
            return text
        groups = ", ".join(self.words.country_groups)
        report.add(path, f"must be a country code such as DE, or one of {groups}, {WORLD}, not {value!r}")
        return None

    def json_schema(self) -> dict[str, object]:
        return {"type": "string"}


def _month(text: str) -> str | None:
    return None if re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text) else "must be a month such as 2024-06"


def _stated(value: NamedTuple) -> dict[str, object]:
    stated: dict[str, object] = {}
    for name, item in value._asdict().items():
        if item is None or (name == "datasets" and not item):
            continue  # `businesses: []` says that there are none, which is not the same as saying nothing
        if hasattr(item, "to_json"):
            item = item.to_json()
        elif isinstance(item, tuple):
            item = [part.to_json() if hasattr(part, "to_json") else part for part in item]
        stated[name] = item
    return stated
