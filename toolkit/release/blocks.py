"""The parts a card is made of. Its content is built once from these; Markdown and HTML each only write them down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """Text as a machine says it: an id, a digest, a setting."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    """Text that must stand out."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link with its words. `target` is http(s) or a file of the release."""

    text: str
    target: str


Inline = str | Code | Strong | Link
Line = tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of inline parts."""

    line: Line


@dataclass(frozen=True, slots=True)
class Display:
    """A sentence that a licence wants shown prominently, word for word."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of lines."""

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; every row has as many cells as the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[Line, ...], ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Code or text to copy, kept as it is."""

    language: str
    text: str


Block = Heading | Paragraph | Display | Bullets | Table | Listing


def line(*parts: Inline) -> Line:
    """A line of inline parts."""
    return parts
