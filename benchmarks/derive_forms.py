"""Derive the closed form of a step's memory from traces of toy models, and write `toolkit/planning/forms.json`.

python benchmarks/derive_forms.py                       all of it, in about half an hour; after a library's upgrade
python benchmarks/derive_forms.py --family dense        this family again (repeatable), the others as they are
python benchmarks/derive_forms.py --print "dense, grouped | all | lora | cuda 16 | checkpointing"
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from toolkit.planning.forms import FAMILIES, PARTS, PATH, PRECISIONS, MomentForm, Way, ways
from toolkit.training.tracing.derive import forms_of
from toolkit.training.tracing.prune import sections, widest

Entry = dict[str, list[MomentForm]]


def derive(family: str, precision: str) -> dict[str, Entry]:
    """The forms of every way of a family and a precision, by key; those that differ by the loss alone in one entry."""
    found: dict[str, Entry] = {}
    chosen = [way for way in ways() if (way.family, way.precision) == (family, precision)]
    begun = time.monotonic()
    for number, way in enumerate(chosen, 1):
        layers, head = sections(forms_of(way))
        kept = widest(way.family, [*layers, *head])
        layers, head = sections(kept)
        entry = found.setdefault(way.key, {"layers": []})
        entry["layers"] += [form for form in layers if form not in entry["layers"]]
        entry[way.loss] = head
        print(f"[{number}/{len(chosen)}] {time.monotonic() - begun:.0f} s, {len(kept)} forms: {way}", file=sys.stderr)
    return found


def write(path: Path, found: dict[str, Entry], previous: dict[str, object]) -> None:
    """As JSON, one way a line: of each form the moment, then part, term and three coefficients for every size."""
    terms: list[str] = list(previous.get("terms", []))  # type: ignore[call-overload]
    forms = dict(previous.get("forms", {}))  # type: ignore[call-overload]

    def number(term: tuple[str, ...]) -> int:
        text = " ".join(term)
        if text not in terms:
            terms.append(text)
        return terms.index(text)

    for key, entry in found.items():
        forms[key] = {
            name: [
                [form.name, [[PARTS.index(part), number(term), *_short(sizes)] for part, term, sizes in form.sizes]]
                for form in members
            ]
            for name, members in entry.items()
        }
    libraries = {
        name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft", "trl", "bitsandbytes")
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(forms[key], separators=(',', ':'))}" for key in sorted(forms))
    head = f'"libraries": {json.dumps(libraries)},\n"terms": {json.dumps(terms)},\n'
    path.write_text(f'{{\n{head}"forms": {{\n{lines}\n}}}}\n', encoding="utf-8")


def _short(sizes: tuple[float, float, float]) -> list[float]:
    """Coefficients without the zeros at their end, whole ones as such."""
    plain = [int(value) if value == int(value) else round(value, 6) for value in sizes]
    while len(plain) > 1 and not plain[-1]:
        plain.pop()
    return plain


def shown(form: MomentForm) -> str:
    """A form for people: each part's terms, with the coefficient of two layers and of each further one."""
    parts = []
    for part, term, (one, more, leading) in form.sizes:
        growth = f" +{more:g} a layer" if more else ""
        growth += f" +{leading:g} a leading layer" if leading else ""
        parts.append(f"    {part:16} {one:g}{growth} x {' '.join(term)}")
    return "\n".join([form.name, *parts])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", action="append", choices=list(FAMILIES))
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    parser.add_argument("--output", type=Path, default=PATH)
    parser.add_argument("--print", metavar="KEY", help="derive the ways of one key, print their forms, write nothing")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    if asked.print:
        chosen: list[Way] = [way for way in ways() if way.key == asked.print]
        for way in chosen:
            print(f"\n{way.loss} loss\n")
            print("\n".join(shown(form) for form in widest(way.family, forms_of(way))))
        return 0 if chosen else 2
    if asked.output.exists() and not (asked.family or asked.precision):
        asked.output.unlink()
    for family, precision in itertools.product(asked.family or FAMILIES, asked.precision or PRECISIONS):
        previous = json.loads(asked.output.read_text()) if asked.output.exists() else {}
        write(asked.output, derive(family, precision), previous)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
