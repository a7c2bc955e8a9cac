"""Writes what the documentation takes from the code: the command reference, the table of plans and the JSON Schemas.

python docs/make.py          write docs/reference.md, docs/plans.md, docs/recipe.schema.json, docs/use.schema.json
python docs/make.py --check  say which of them is stale, and end with 1
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from toolkit.cli.main import COMMANDS, tk
from toolkit.files.schema import Record
from toolkit.licensing.library import library
from toolkit.licensing.use import use_shape
from toolkit.licensing.vocabulary import vocabulary
from toolkit.models.reference import parse_reference
from toolkit.models.resolve import Access, resolve
from toolkit.planning.gpu import named
from toolkit.planning.memory import needed_bytes
from toolkit.planning.plan import Plan, make_plan
from toolkit.planning.prepare import shape_of
from toolkit.planning.recipe import load_recipe
from toolkit.planning.recipe_shape import recipe_shape
from toolkit.planning.rows import rows_of

DOCS = Path(__file__).resolve().parent
PLANNED_GIB = (8, 12, 16, 24, 48, 80, 141)
PLANS_HEAD = """# What the shipped recipes run, by GPU memory

Made by `python docs/make.py` from the plans themselves. A cell says the adapter, the micro-batch x accumulation steps,
`r` where activations are recomputed, and `tight` where little memory is left over; `no` with the memory that even the
smallest step of this recipe would need to fit comfortably. `tk plan RECIPE --gpu 24GiB` gives the reasons and, where it
does not fit, what would; `tk plan RECIPE --all-gpus` takes every GPU that tk knows by name.
"""
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


def plans() -> str:
    """What each shipped recipe would run on GPUs of several sizes."""
    sizes = [f"{size}GiB" for size in PLANNED_GIB]
    lines = [PLANS_HEAD, f"| recipe | {' | '.join(sizes)} |", f"|---|{'---|' * len(sizes)}"]
    for path in sorted((DOCS.parent / "recipes").glob("*.yaml")):
        recipe = load_recipe(str(path))
        shape = shape_of(resolve(parse_reference(recipe.base), Access(library(), offline=True)))
        cells = [_cell(make_plan(recipe, shape, named(size), rows=rows_of(recipe), suggest=False)) for size in sizes]
        lines.append(f"| {path.stem} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(plan: Plan) -> str:
    """`qlora 8 x 2, r`: adapter, micro-batch x accumulation, whether activations are recomputed; or what is lacking."""
    if plan.fit == "does-not-fit":
        return f"no: {needed_bytes(plan.memory, plan.device) / 2**30:.0f} GiB"
    value = {name: choice.value for name, choice in plan.choices.items()}
    recomputed = ", r" if value["gradient_checkpointing"] else ""
    tight = ", tight" if plan.fit == "tight" else ""
    return f"{value['adapter']} {value['micro_batch_size']} x {value['gradient_accumulation']}{recomputed}{tight}"


def documents() -> dict[str, str]:
    return {
        "plans.md": plans(),
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
