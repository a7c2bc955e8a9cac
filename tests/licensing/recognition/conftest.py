"""Invented licences, several from one template, and the fingerprints built from them and from our own LICENSE."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.licensing.recognition.build import build
from toolkit.licensing.recognition.prints import Fingerprints

ROOT = Path(__file__).resolve().parents[3]

TEMPLATE = """\
{product} COMMUNITY TERMS
{product} Release Date: {date}

By downloading or running any part of {product}, You accept this agreement with {licensor} and everything it says below.

1. Words.
   a. "Works" means {product}, the weights that {licensor} publishes under that name, and whatever is derived from them.
   b. "Territory" means every country of the world except {territory}.

2. What You may do. {licensor} lets You run, study, alter and hand on the Works inside the Territory, at no charge, for as
long as You keep to section 3. Nothing here lets You use the name {product} for a service of Your own.

3. What You owe.
   a. Whoever receives the Works from You must receive a copy of this agreement; and
   b. You shall show the words "Made with {product}" in each of the following places:
      i. the page on which a service is offered, in letters of ordinary size;
      ii. the manual of every product that contains the Works.
   c. You may not train another language model on the Works unless section 3(b) has been met within 30 days.

4. Large services. If a service of Yours had more than {threshold} in the calendar month before the release date, You must
ask {licensor} for separate terms, which it is free to refuse.

5. No promises. THE WORKS COME AS THEY ARE. {licensor} PROMISES NOTHING ABOUT THEM AND OWES NOTHING FOR ANY LOSS THAT THEIR
USE MAY BRING, SO FAR AS THE LAW LETS IT SAY SO.

Exhibit A

Uses that are not allowed

You shall not use the Works:

- to plan or carry out an attack on people or on what they live from;
- to decide about a person's work, housing or credit without a human who answers for it;
- to watch people in public places.
"""

SHORT = """\
Everyone who holds a copy of this program may run it, read it, change it and give it to others, for any purpose and
without asking, as long as this paragraph and the one below stay with every copy of it.

The program is given as it is, and whoever wrote it answers for nothing that follows from its use or from its failure.
"""

EXTENDED = (
    SHORT
    + """
Whoever earns more than {threshold} with a product that contains the program shall show the name "{product}" in it.
"""
)

FAMILY = {
    "ferro-1.0": {"product": "Ferro 1.0", "licensor": "Ferro Labs", "date": "March 3, 2025", "threshold": "700 million active users", "territory": "Atlantis"},
    "ferro-1.1": {"product": "Ferro 1.1", "licensor": "Ferro Labs", "date": "June 9, 2025", "threshold": "700 million active users", "territory": "Atlantis"},
    "ferro-1.1-b": {"product": "Ferro 1.1", "licensor": "Ferro Labs", "date": "June 9, 2025", "threshold": "100 million active users", "territory": "Atlantis"},
    "nordlicht-2": {"product": "Nordlicht 2", "licensor": "Nordlicht GmbH", "date": "June 9, 2025", "threshold": "700 million active users", "territory": "Atlantis, Lemuria and Thule"},
}  # fmt: skip


def texts() -> dict[str, str]:
    """The invented licences by id."""
    made = {identifier: TEMPLATE.format(**fields) for identifier, fields in FAMILY.items()}
    made["plain-permission"] = SHORT
    made["plain-permission-gold"] = EXTENDED.format(product="Gold", threshold="20 million crowns")
    made["plain-permission-lead"] = EXTENDED.format(product="Lead", threshold="30 million crowns")
    return made


@pytest.fixture(scope="session")
def invented() -> dict[str, str]:
    return texts()


@pytest.fixture(scope="session")
def prints(tmp_path_factory: pytest.TempPathFactory) -> Fingerprints:
    """Fingerprints of the invented licences and of Apache-2.0, whose text is ours to ship."""
    folder = tmp_path_factory.mktemp("texts")
    for identifier, text in texts().items():
        (folder / f"{identifier}.txt").write_text(text, encoding="utf-8")
    shutil.copyfile(ROOT / "LICENSE", folder / "apache-2.0.txt")
    target = tmp_path_factory.mktemp("fingerprints")
    build(folder, target)
    return Fingerprints(target)


@pytest.fixture(scope="session")
def apache() -> str:
    return (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def clauses(prints: Fingerprints) -> Callable[[str], list[str]]:
    """The clauses of a licence, each once, in order."""
    return lambda identifier: list(dict.fromkeys(prints.get(identifier).clauses))
