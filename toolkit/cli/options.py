"""Options that several commands share, and the intended use that flags and a use file make together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.licensing.vocabulary import DISTRIBUTIONS, RECIPIENTS

if TYPE_CHECKING:
    from toolkit.files.strict_yaml import Document
    from toolkit.licensing.judge import Manner
    from toolkit.licensing.use import IntendedUse
    from toolkit.models.resolve import Access

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

format_option = click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What to print."
)
offline_option = click.option("--offline", is_flag=True, help="Never use the network (as HF_HUB_OFFLINE=1).")
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe key, such as train.epochs=1."
)
run_argument = click.argument("run", type=click.Path(path_type=Path))


def use_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of an intended use."""
    options: list[Decorator] = [
        click.option("--use", "use_file", type=click.Path(path_type=Path), help="Intended use as a YAML file."),
        click.option("--commercial/--non-commercial", default=None, help="Whether the use is commercial."),
        click.option("--distribution", type=click.Choice(DISTRIBUTIONS), help="Who gets what."),
        click.option("--recipients", type=click.Choice(RECIPIENTS), help="For internal: who."),
        click.option("--users", type=click.IntRange(min=0), help="Monthly active users of this product."),
        click.option("--group-users", multiple=True, metavar="[YYYY-MM=]N", help="Users of all products of the group."),
        click.option("--seat", metavar="COUNTRY", help="Principal place of business, such as DE."),
        click.option("--territory", multiple=True, metavar="COUNTRY", help="Where it is used."),
        click.option("--field", multiple=True, help="Field of use, such as medical-advice."),
        click.option("--dataset", multiple=True, metavar="ID=LICENSE", help="Data trained on."),
        click.option("--name", help="Planned name of the result."),
        click.option("--release-license", help="Planned licence of the result."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a use is judged: strictly or not, and under which policy."""
    command = click.option(
        "--policy", type=click.Path(path_type=Path), help="The organisation's policy (else TK_POLICY, [tool.tk])."
    )(command)
    return click.option("--strict", is_flag=True, help="Turn every assumption into a question.")(command)


def manner(*, strict: bool, policy: Path | None, explain: bool = False) -> Manner:
    """How to judge in this run of the command. Raises InvalidInput for a policy that is none."""
    from toolkit.cli.policy_file import find_policy
    from toolkit.licensing.judge import Manner

    return Manner(strict=strict, explain=explain, policy=find_policy(policy))


def intended_use(flags: Mapping[str, Any]) -> tuple[IntendedUse, Document]:
    """The use that a file and flags state together, and where each fact stands; a flag speaks over the file. Raises
    InvalidInput, UsageError."""
    from toolkit.errors import TkError
    from toolkit.files.schema import read_document
    from toolkit.files.strict_yaml import Document, load_file
    from toolkit.licensing.use import IntendedUse, use_shape
    from toolkit.licensing.vocabulary import vocabulary

    stated = _stated(flags)
    document = load_file(flags["use_file"]) if flags.get("use_file") else Document({}, "the command line", {})
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise TkError("must be a mapping of facts", where=f"{flags['use_file']}:1")
    if set(value) == {"use"} and isinstance(value["use"], dict):
        value = value["use"]  # the `use:` part of a recipe, kept in a file of its own
        document = Document(value, document.name, {path[1:]: line for path, line in document.lines.items() if path})
    merged = {**value, **stated}
    if isinstance(value.get("release"), dict) and "release" in stated:
        merged["release"] = {**value["release"], **stated["release"]}
    origins: dict[tuple[str | int, ...], str] = {(key,): "the command line" for key in stated}
    spoken = Document(merged, document.name, document.lines, origins)
    use = read_document(spoken, use_shape(vocabulary()), "use")
    assert isinstance(use, IntendedUse)
    return use, spoken


def _stated(flags: Mapping[str, Any]) -> dict[str, Any]:
    plain = {"commercial": "commercial", "distribution": "distribution", "recipients": "recipients",
             "users": "product_monthly_active_users", "seat": "seat"}  # fmt: skip
    stated: dict[str, Any] = {key: flags[flag] for flag, key in plain.items() if flags.get(flag) is not None}
    for flag, key in (("territory", "territories"), ("field", "fields")):
        if flags.get(flag):
            stated[key] = list(flags[flag])
    if flags.get("group_users"):
        stated["group_monthly_active_users"] = _group_users(flags["group_users"])
    if flags.get("dataset"):
        stated["datasets"] = [_dataset(text) for text in flags["dataset"]]
    release = {"name": flags.get("name"), "license": flags.get("release_license")}
    if named := {key: text for key, text in release.items() if text}:
        stated["release"] = named
    return stated


def _group_users(texts: tuple[str, ...]) -> int | dict[str, int]:
    from toolkit.errors import UsageError

    months: dict[str, int] = {}
    for text in texts:
        month, equals, number = text.rpartition("=")
        if not number.replace("_", "").isdigit() or (len(texts) > 1 and not equals):
            raise UsageError(f"--group-users {text}: write N, or YYYY-MM=N for each month")
        if not equals:
            return int(number)
        months[month] = int(number)
    return months


def _dataset(text: str) -> dict[str, str]:
    identifier, _, terms = text.rpartition("=")
    return {"id": identifier, "license": terms} if identifier else {"id": text}


def access(offline: bool, *, weights: bool = False) -> Access:
    """What resolving a model may do in this run of the command."""
    from toolkit.licensing.library import library
    from toolkit.models.resolve import Access

    return Access(library(), offline=offline, weights=weights)


def print_json(value: object, *, one_line: bool = False) -> None:
    """A value as JSON on stdout; on one line where several follow one another."""
    import json

    click.echo(json.dumps(value, indent=None if one_line else 2, ensure_ascii=False))
