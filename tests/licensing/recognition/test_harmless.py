"""What does not change the terms does not change the answer."""

import html
import re
import textwrap

import pytest

from toolkit.licensing.recognition.recognise import recognise

MARKER = re.compile(r"^( *)\(?(\d|[a-z]{1,2})[.)](?= )", re.M)


def paragraphs(text):
    return [part for part in re.split(r"\n\s*\n", text) if part.strip()]


def wrapped(width):
    return lambda text: "\n\n".join(textwrap.fill(" ".join(part.split()), width) for part in paragraphs(text))


def as_html(text):
    return "".join(f"<p>{html.escape(part)}</p>\n" for part in paragraphs(text))


def each_line(before):
    return lambda text: "\n".join(before + line for line in text.split("\n"))


HARMLESS = {
    "as it is": lambda text: text,
    "narrow": wrapped(44),
    "wide": wrapped(100),
    "one line a paragraph": wrapped(100_000),
    "typographic quotes": lambda text: text.replace('"', "”").replace("'", "’").replace("-", "‑"),
    "upper case": str.upper,
    "lower case": str.lower,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "BOM": lambda text: "\ufeff" + text,
    "HTML": as_html,
    "bold": lambda text: re.sub(r"\b(Works|service)\b", r"**\1**", text),
    "a Markdown heading": lambda text: "# " + text,
    "markers as (a)": lambda text: MARKER.sub(r"\1(\2)", text),
    "markers as bullets": lambda text: MARKER.sub(r"\1*", text),
    "markers left out": lambda text: MARKER.sub(r"\1", text),
    "comment in Python": each_line("# "),
    "comment in C": each_line(" * "),
    "indented": each_line("        "),
    "double-spaced": lambda text: text.replace("\n", "\n\n"),
    "a holder in front": lambda text: "Copyright (c) 2026 Example Industries GmbH\n\n" + text,
    "a title in front": lambda text: "LICENSE\n=======\n\n" + text,
    "an SPDX tag in front": lambda text: "SPDX-License-Identifier: LicenseRef-Example\n\n" + text,
    "page furniture at the end": lambda text: text + "\n\f\nPage 2 of 2\n",
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS.keys())
def test_a_text_in_other_clothes_is_the_same_licence(change, invented, apache, prints):
    for identifier, text in {**invented, "apache-2.0": apache}.items():
        answer = recognise(change(text), prints)
        assert (answer.id, answer.modified, answer.similarity, answer.changes) == (identifier, False, 1.0, ())


def test_the_holder_is_read_and_not_compared(invented, prints):
    answer = recognise("Copyright 2019-2026 Will Power\n\n" + invented["plain-permission"], prints)
    assert (answer.id, answer.modified, answer.copyrights) == (
        "plain-permission",
        False,
        ("Copyright 2019-2026 Will Power",),
    )


def test_a_holder_line_that_says_more_is_compared(invented, prints):
    text = "Copyright 2026 Example. Not for commercial use.\n\n" + invented["plain-permission"]
    answer = recognise(text, prints)
    assert answer.modified
    assert [change.kind for change in answer.changes] == ["added"]


def test_the_instructions_of_apache_may_be_absent_or_filled_in(apache, prints):
    head, _, tail = apache.partition("   APPENDIX:")
    filled = apache.replace("[yyyy] [name of copyright owner]", "2026 Example Industries GmbH")
    for text in (head, filled, head + tail[tail.index("   Copyright") :]):
        answer = recognise(text, prints)
        assert (answer.id, answer.modified) == ("apache-2.0", False)


def test_a_title_may_be_missing_and_not_another(invented, prints):
    text = invented["ferro-1.0"]
    bare = text.split("\n", 3)[3]
    assert not recognise(bare, prints).modified
    assert recognise(text.replace("Ferro 1.0 COMMUNITY", "Ferro 1.2 COMMUNITY"), prints).modified
    assert recognise(text.replace("COMMUNITY TERMS", "COMMERCIAL TERMS"), prints).modified


def test_an_address_that_was_linked_is_the_same(apache, prints):
    linked = apache.replace(
        "http://www.apache.org/licenses/\n", "[apache.org/licenses](https://www.apache.org/licenses/)\n"
    )
    assert linked != apache
    assert not recognise(linked, prints).modified
