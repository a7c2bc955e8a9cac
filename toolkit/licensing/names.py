"""What a name gives away: the known model that a re-upload is named after, and the licences that prose names.

Both read the heads of licence files as text and parse none of them: they run in a licence check.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

# Patterns are compiled when first used: a check that needs none should not pay for them.
# What re-uploads add to a name: formats, widths and the tools that made them.
_SUFFIX = (
    r"(?i)[-_.](?:gguf|ggml|awq|gptq|exl2|exl3|mlx|onnx|openvino|hqq|aqlm|bnb|unsloth|fp8|nvfp4|mxfp4|fp4|nf4|quantized"
    r"|int[248]|[2-8][-_]?bits?|w[2-8]a(?:8|16)|imatrix|dynamic|q[2-8](?:_[a-z0-9]+)*)(?=$|[-_.])"
)
# What a publisher's own names go on with: sizes, versions and kinds.
_USUAL = r"|v?\d[\da-z]*|[bm]|a\d+b|instruct|chat|base|it|pt|hf|vision|thinking|preview"
_MATCH = r"\bmatch: *[\"']?([^\"',}\s]+)"
_MENTIONS = r"(?m)^mentions: *\[(.*)\] *(?:#.*)?$"
_QUOTED = r"\"([^\"]+)\""
_DATA = r"\bdata(?:set|sets)?\b|\bcorpus\b|\bcorpora\b"
_CODE = r"\bcode\b|\brepository\b|\bscripts?\b"


class Resemblance(NamedTuple):
    """A model whose name shows another: the pattern of the catalogue that it shows, and the model taken for its base."""

    pattern: str
    base: str


class KnownName(NamedTuple):
    """The words of a catalogue pattern by which other names show it: lower case, up to its first `*`."""

    literal: str
    pattern: str


def organisations(heads: Mapping[str, str]) -> frozenset[str]:
    """The organisations whose models the catalogue knows, in lower case."""
    patterns = (pattern for text in heads.values() for pattern in re.findall(_MATCH, text))
    return frozenset(pattern.partition("/")[0].lower() for pattern in patterns)


def known_names(heads: Mapping[str, str]) -> tuple[KnownName, ...]:
    """The names in the catalogue that are long enough to be told in other names."""
    # Terms of a service name its models, and nothing descends from those by its weights.
    of_models = (text for text in heads.values() if "\nsubject: model" in text)
    patterns = (pattern for text in of_models for pattern in re.findall(_MATCH, text))
    names = (KnownName(pattern.partition("/")[2].partition("*")[0].lower(), pattern) for pattern in patterns)
    return tuple(name for name in names if len(name.literal) >= 4)


def resemblance(name: str, names: Iterable[KnownName]) -> Resemblance | None:
    """The known model that a name is made after, by the longest pattern of the catalogue in it.

    `acme/Qwen2.5-3B-Instruct-GGUF` is made after `Qwen/Qwen2.5-3B*`, and `Qwen/Qwen2.5-3B-Instruct` is taken for its
    base. Where more than a re-upload's suffix follows, which of the models it was is not known, and the pattern stands.
    """
    short = name.rstrip("/").rpartition("/")[2]
    lower = short.lower()
    best: tuple[int, str, int] | None = None
    for literal, pattern in names:
        if literal not in lower:
            continue
        at = _at_a_boundary(lower, literal, whole="*" not in pattern)
        if at is not None and (at == 0 or any(letter.isdigit() for letter in literal)):
            best = max(best or (0, "", 0), (len(literal), pattern, at))
    if best is None:
        return None
    length, pattern, at = best
    organisation, _, known = pattern.partition("/")
    rest = short[at + length :]
    stripped = _stripped(short[at:])[length:]
    usual = all(re.fullmatch(_USUAL, word) for word in re.split("[-_.]", rest.lower()))
    certain = "*" in pattern and (len(stripped) < len(rest) or usual)
    return Resemblance(pattern, f"{organisation}/{known[:length]}{stripped}" if certain else pattern)


def mentioned(text: str, heads: Mapping[str, str], *, of_data: bool = False) -> Iterator[tuple[str, int]]:
    """(licence id, line from 1) for each licence that prose names, the longest phrase winning where several overlap.

    On a model's card, lines about data are left out: what data is under is told by the data sets of a use. So are lines
    about code. A data set's card (`of_data`) speaks of data.
    """
    lower = text.lower()
    phrases = [
        (phrase.lower(), identifier)
        for identifier, head in heads.items()
        for found in re.findall(_MENTIONS, head)
        for phrase in re.findall(_QUOTED, found)
        if phrase.lower() in lower
    ]
    seen = set()
    for number, line in enumerate(lower.splitlines(), start=1):
        taken = line
        for phrase, identifier in sorted(phrases, key=lambda entry: -len(entry[0])):
            found_at = re.search(rf"(?<!\w){re.escape(phrase)}(?!\w|[.-]\d)", taken)
            if not found_at:
                continue
            taken = taken[: found_at.start()] + " " * len(phrase) + taken[found_at.end() :]
            apart = re.search(_CODE, line) or (re.search(_DATA, line) and not of_data)
            if identifier not in seen and not apart:
                seen.add(identifier)
                yield identifier, number


def _at_a_boundary(name: str, literal: str, *, whole: bool) -> int | None:
    """Where `literal` stands in `name` as words of their own; `whole` asks for a boundary behind it too."""
    at = name.find(literal)
    while at >= 0:
        before, after = name[at - 1 : at], name[at + len(literal) : at + len(literal) + 1]
        if before in ("", "-", "_", ".") and (not whole or after in ("", "-", "_")):
            return at
        at = name.find(literal, at + 1)
    return None


def _stripped(name: str) -> str:
    cut = re.search(_SUFFIX, name)
    return name[: cut.start()] if cut and cut.start() > 0 else name
