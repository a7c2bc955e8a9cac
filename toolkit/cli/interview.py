"""On a terminal, the facts that decide are asked for, and can be kept as a use file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from toolkit.errors import InvalidInput
from toolkit.files.schema import read_value
from toolkit.licensing.use import IntendedUse, use_shape
from toolkit.licensing.verdict import Question, Verdict
from toolkit.licensing.vocabulary import Vocabulary

_FLAGS = ("commercial", "modified")
_NUMBERS = (
    "product_monthly_active_users", "group_monthly_active_users", "group_annual_revenue_usd",
    "product_monthly_revenue_usd",
)  # fmt: skip
_OF_OUTPUTS = {"outputs_distributed": "distributed", "outputs_family": "model"}
_OF_RELEASE = {"release_license": "license", "release_name": "name"}
_LISTS = ("territories", "businesses", "fields", "modalities")


def is_terminal() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def interview(
    verdict: Verdict, use: IntendedUse, words: Vocabulary, judge_again: Callable[[IntendedUse], Verdict]
) -> tuple[Verdict, IntendedUse]:
    """Ask for missing facts, one at a time, until none decides any more or the person leaves the rest open."""
    asked: set[str] = set()
    while question := next((item for item in verdict.questions if item.fact not in asked), None):
        if not asked:
            click.echo("Some facts decide and were not stated. An empty answer leaves a fact open.", err=True)
        asked.add(question.fact)
        answered = _ask(question, use, words)
        if answered is not None:
            use = answered
            verdict = judge_again(use)
    return verdict, use


def offer_to_save(use: IntendedUse) -> None:
    """Keep the facts as a use file, if the person wants to."""
    name = click.prompt("Save these facts as (empty: do not)", default="", show_default=False, err=True).strip()
    if not name:
        return
    import yaml

    from toolkit.files.atomic import write_text

    path = Path(name)
    if path.exists() and not click.confirm(f"{path} exists. Replace it?", err=True):
        return
    write_text(path, yaml.safe_dump(use.to_json(), sort_keys=False, allow_unicode=True))
    click.echo(f"Wrote {path}; next time: --use {path}", err=True)


def _ask(question: Question, use: IntendedUse, words: Vocabulary) -> IntendedUse | None:
    """The use with the answer in it; None when the person leaves it open."""
    click.echo(f"\n{question.because}", err=True)
    hint = _hint(question.fact, words)
    while True:
        answer = click.prompt(f"{question.text}{hint}", default="", show_default=False, err=True).strip()
        if not answer:
            return None
        try:
            stated = _with(use.to_json(), question.fact, answer)
            told = read_value(stated, use_shape(words), "use")
            assert isinstance(told, IntendedUse)
            return told
        except (InvalidInput, ValueError) as error:
            click.echo(str(error) or "not understood", err=True)


def _hint(fact: str, words: Vocabulary) -> str:
    choices = {
        "distribution": "internal, hosted-service, weights, embedded-product, evaluation",
        "recipients": "legal-entity, affiliates, contractors",
        "businesses": f"none, or any of: {', '.join(words.businesses)}",
        "fields": "general, or words of licenses/vocabulary.yaml",
        "modalities": "text, image, audio, video",
        "seat": "a country code such as DE",
        "territories": "country codes, EU or WORLD, with commas",
    }
    if fact in _FLAGS or fact == "outputs_distributed":
        return " [y/n]"
    return f" ({choices[fact]})" if fact in choices else ""


def _with(stated: dict[str, Any], fact: str, answer: str) -> dict[str, Any]:
    """The keys of a use with an answer among them. Raises ValueError for what is neither yes nor no, nor a number."""
    if fact in _OF_OUTPUTS:
        inner = {_OF_OUTPUTS[fact]: _fact(fact, answer)[fact]}
        return {**stated, "outputs_train": {"model": "unnamed", **stated.get("outputs_train", {}), **inner}}
    if fact in _OF_RELEASE:
        return {**stated, "release": {**stated.get("release", {}), _OF_RELEASE[fact]: answer}}
    return {**stated, **_fact(fact, answer)}


def _fact(fact: str, answer: str) -> dict[str, Any]:
    if fact in _FLAGS or fact == "outputs_distributed":
        word = answer.lower()
        if word not in ("y", "yes", "n", "no"):
            raise ValueError("answer y or n")
        return {fact: word.startswith("y")}
    if fact in _NUMBERS:
        return {fact: int(float(answer.replace(",", "").replace("_", "")))}
    if fact in _LISTS:
        listed = [part.strip() for part in answer.split(",") if part.strip()]
        return {fact: [] if [part.lower() for part in listed] == ["none"] else listed}
    return {fact: answer}
