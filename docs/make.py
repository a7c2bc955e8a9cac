"""Writes what the documentation takes from the code: the command reference and the JSON Schemas for editors.

python docs/make.py          write docs/reference.md, docs/recipe.schema.json, docs/use.schema.json
python docs/make.py --check  say which of them is stale, and end with 1
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from toolkit.cli.main import COMMANDS, tk
from toolkit.files.schema import Record
from toolkit.licensing.use import use_shape
from toolkit.licensing.vocabulary import vocabulary
from toolkit.planning.recipe import recipe_shape

DOCS = Path(__file__).resolve().parent
HEAD = "# Commands\n\nMade by `python docs/make.py` from the commands' own help.\n"


def reference() -> str:
    """Every command's help, subcommands included."""
    parts = [HEAD]
    for name in COMMANDS:
        command = tk.get_command(click.Context(tk), name)
        assert command is not None
        parts.append(_help(command, f"tk {name}"))
        if isinstance(command, click.Group):
            parts += [_help(inner, f"tk {name} {inner.name}") for inner in command.commands.values()]
    return "\n".join(parts)


def _help(command: click.Command, path: str) -> str:
    context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
    return f"## {path}\n\n```text\n{command.get_help(context)}\n```\n"


def schema(title: str, record: Record) -> str:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return json.dumps({**head, **record.json_schema()}, indent=2, ensure_ascii=False) + "\n"


def documents() -> dict[str, str]:
    return {
        "reference.md": reference(),
        "recipe.schema.json": schema("tk recipe", recipe_shape()),
        "use.schema.json": schema("tk intended use", use_shape(vocabulary())),
    }


def main() -> int:
    stale = [name for name, text in documents().items() if not _is(DOCS / name, text)]
    if "--check" in sys.argv:
        print(f"stale: {', '.join(stale)}; run python docs/make.py" if stale else "current")
        return int(bool(stale))
    for name, text in documents().items():
        (DOCS / name).write_text(text, encoding="utf-8")
    return 0


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    raise SystemExit(main())
