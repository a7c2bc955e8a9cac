"""`tk plan --check-data` and `--show-sample`: the rows of a recipe looked at, and a few of them shown token by token."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.options import access, print_json

if TYPE_CHECKING:
    from toolkit.planning.prepare import Prepared


def check_data(prepared: Prepared, offline: bool, format_: str) -> None:
    """Read every row of a recipe's data and report; with the base's tokenizer, where it is at hand, tokens too."""
    from toolkit.cli.data_text import data_text
    from toolkit.training.data import load_data
    from toolkit.training.data_report import data_facts, data_notes
    from toolkit.training.stream import open_stream

    recipe = prepared.recipe
    reading = open_stream(recipe, offline=offline, every_row=True) if recipe.data.streaming else None
    data = reading or load_data(recipe, offline=offline)
    folder = _tokenizer(prepared, offline)
    if folder is None:
        facts, notes = data_facts(recipe, data), data_notes(data)
    else:
        with _quietly():
            from toolkit.training.methods import method_of
            from toolkit.training.prepared import prepare_rows
            from toolkit.training.settings import settings_of

            settings = settings_of(recipe, prepared.plan.choices, prepared.plan.device.kind)
            rows = prepare_rows(recipe, data, method_of(recipe.method), settings, folder)
        facts = data_facts(recipe, data, rows.encoded, rows.template)
        notes = rows.notes(data)
    if format_ == "json":
        print_json({"schema": "tk/data/1", **facts, "notes": notes})
    else:
        click.echo(data_text(facts, notes, recipe.base))


def show_samples(prepared: Prepared, count: int, offline: bool, format_: str) -> None:
    """Show `count` rows as they are trained on. Raises TkError when the base's tokenizer is not at hand."""
    from toolkit.cli.data_text import sample_text
    from toolkit.errors import TkError
    from toolkit.training.data import load_data

    recipe = prepared.recipe
    data = load_data(recipe, offline=offline)
    folder = _tokenizer(prepared, offline)
    if folder is None:
        hint = "run it where the hub can be reached, or name a folder that holds it as base"
        raise TkError(f"the tokenizer of {recipe.base} is not at hand", hint=hint)
    with _quietly():
        from toolkit.training.methods import method_of
        from toolkit.training.sample import samples_of
        from toolkit.training.settings import settings_of

        settings = settings_of(recipe, prepared.plan.choices, prepared.plan.device.kind)
        samples, template = samples_of(recipe, data, method_of(recipe.method), settings, folder, count)
    if format_ == "json":
        rows = [sample.to_json() for sample in samples]
        print_json({"schema": "tk/sample/1", "base": recipe.base, "template": template, "rows": rows})
    else:
        click.echo(sample_text(samples, template))


def _tokenizer(prepared: Prepared, offline: bool) -> Path | None:
    from toolkit.models.reference import parse_reference
    from toolkit.models.tokenizer_files import tokenizer_folder

    return tokenizer_folder(parse_reference(prepared.recipe.base), access(offline))


def _quietly() -> AbstractContextManager[object]:
    """Libraries that are imported say nothing while rows are tokenised."""
    import os

    from toolkit.training import environment

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    return environment.quiet_libraries(Path(os.devnull))
