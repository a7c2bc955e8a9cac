"""The values that fields of a licence take, read from words: dates, thresholds, places, holders, versions.

Each has one canonical form, so that “US$ 20,000,000” and “20 million US dollars” are the same value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MONTHS_TEXT = "january february march april may june july august september october november december"
_MONTHS = {name: number for number, name in enumerate(_MONTHS_TEXT.split(), start=1)}
_MONTH = rf"(?:{'|'.join(_MONTHS)})"
DATE = re.compile(
    rf"\b(?:(?P<month>{_MONTH})\s+(?:(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s*,?\s+)?(?P<year>\d{{4}})"
    rf"|(?<![.\d])(?P<day2>\d{{1,2}})(?:st|nd|rd|th)?\s+(?P<month2>{_MONTH}),?\s+(?P<year2>\d{{4}})"
    r"|(?P<iso>\d{4}-\d{2}-\d{2}))(?!\w)",
    re.I,
)
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_CURRENCIES = (
    (re.compile(r"us\s?\$|\$|usd|us\s+dollars|united\s+states\s+dollars|u\.s\. dollars|\bdollars", re.I), "US dollars"),
    (re.compile(r"€|\beur\b|euros?", re.I), "euros"),
    (re.compile(r"£|gbp|pounds", re.I), "pounds"),
    (re.compile(r"rmb|cny|yuan", re.I), "yuan"),
    (re.compile(r"crowns", re.I), "crowns"),
)
_MONEY = r"(?:US\s?\$|USD|RMB|CNY|EUR|GBP|[$€£¥])"
_MONEY_AFTER = r"(?:US\s+dollars|United\s+States\s+dollars|U\.S\.\s+dollars|dollars|USD|euros?|EUR|pounds|GBP|yuan|RMB|CNY|crowns)"  # fmt: skip
_PERIOD = r"(?:monthly|annual|yearly|quarterly|weekly|daily|aggregate|total)"
_INCOME = rf"(?:{_PERIOD}\s+)?(?:(?:gross|net|recurring|total)\s+)?(?:revenues?|turnover|sales|income)"
_PEOPLE = rf"(?:(?:{_PERIOD}\s+)?(?:active\s+)?(?:users|customers|subscribers|downloads|requests)|employees|parameters)"
MONEY_OR_COUNT = re.compile(
    rf"(?P<money>{_MONEY}\s?)?(?<![\w.-])(?P<number>\d{{1,3}}(?:,\d{{3}})+|\d+(?:\.\d+)?)(?:\s+(?P<scale>thousand|million|billion|trillion))?"
    rf"(?:\s+(?P<after>{_MONEY_AFTER})\b)?(?:\s*\([^)\n]{{0,50}}(?:\n[^)\n]{{0,50}})?\))?"
    rf"(?:\s+(?:(?:in|of|as)\s+)?(?P<unit>{_INCOME}|{_PEOPLE})\b)?",
    re.I,
)
_INCOME_BEFORE = re.compile(rf"\b(?P<unit>{_INCOME})\b(?=[^.;]{{0,90}}$)", re.I)
_NOT_PLACES_TEXT = """section sections licensor licensee territory you your the this agreement exhibit party parties as if
    where when for model materials works software use except law laws and or any such third legal state"""
_NOT_PLACES = frozenset(_NOT_PLACES_TEXT.split())
_PLACE_WORD = r"(?!(?:AND|OR|IS|ARE|THE|BUT|AS|WHERE|WHICH|OF)\b)(?-i:[A-Z])[\w'-]*(?:\.(?=\w)[\w'-]+)*"
_ITEM = rf"\b{_PLACE_WORD}(?:\s+(?:of\s+)?{_PLACE_WORD}){{0,3}}"
_LIST = rf"(?P<places>(?:the\s+)?{_ITEM}(?:(?:\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+)(?:the\s+)?{_ITEM})*)"
PLACES = re.compile(
    rf"(?:(?:world\w*|territor\w+|countr\w+)\b[^.;:]{{0,60}}?\b(?:excluding|except(?:\s+for)?|other\s+than|outside(?:\s+of)?|without)\s+(?:the\s+territor(?:y|ies)\s+of\s+)?"
    rf"|\b(?:do|does|shall)\s+not\s+apply\s+in\s+|\bplace\s+of\s+business\s+in,?\s+|\bwithin\s+the\s+(?=(?-i:European)))(?:the\s+)?{_LIST}",
    re.I,
)
_WITHOUT_HOLDER = re.compile(
    r"copyright|\(c\)|\b(?:by|the)\b|\ball\s+rights\s+reserved.*|(?:19|20)\d\d(?:\s*[-,–]\s*(?:present|(?:19|20)?\d\d))*|[©*#]",
    re.I,
)
_BLANK = re.compile(r"[\[<{(].*[\]>})]|name of|owner|author|holder", re.I)
_VERSION = re.compile(r"\b(?:version:?|v\.?)\s*(?P<number>\d+(?:\.\d+){0,2})(?![\w%]|\.\d)", re.I)
_NUMBER = re.compile(r"(?<![\w.$€£¥])v?(?P<number>\d+(?:\.\d+){0,2})(?!\w|\.\d)", re.I)


def dates(text: str) -> Iterator[tuple[str, int, int]]:
    """Every date as `2024-07-23`, or `2024-07` where no day is named."""
    for match in DATE.finditer(text):
        if match["iso"]:
            yield match["iso"], *match.span()
            continue
        month = _MONTHS[(match["month"] or match["month2"]).casefold()]
        day = match["day"] or match["day2"]
        value = f"{match['year'] or match['year2']}-{month:02}" + (f"-{int(day):02}" if day else "")
        yield value, *match.span()


def thresholds(text: str) -> Iterator[tuple[str, int, int]]:
    """Every number of users or of money, with its unit: `700 million monthly active users`, `20 million US dollars
    monthly revenue`. A bare number is none."""
    for match in MONEY_OR_COUNT.finditer(text):
        currency = _currency(match["money"] or match["after"] or "")
        unit = " ".join((match["unit"] or "").casefold().split())
        if (
            currency
            and not unit
            and (before := list(_INCOME_BEFORE.finditer(text, max(0, match.start() - 160), match.start())))
        ):
            unit = " ".join(before[-1]["unit"].casefold().split())
        if not currency and (not unit or unit == "parameters"):
            continue
        if not currency and not re.search("users|customers|subscribers|downloads|requests|employees", unit):
            continue
        amount = float(match["number"].replace(",", "")) * _SCALES.get((match["scale"] or "").casefold(), 1)
        words = " ".join(part for part in (spelled(int(amount)), currency, unit) if part)
        yield words, *match.span()


def _currency(text: str) -> str:
    return next((name for pattern, name in _CURRENCIES if pattern.search(text)), "")


def spelled(amount: int) -> str:
    """A number as people say it: 700 million, 1.5 billion, 5,000."""
    for word, scale in reversed(_SCALES.items()):
        if scale >= 10**6 and amount >= scale and amount % (scale // 100) == 0:
            return f"{amount / scale:.10g} {word}"
    return f"{amount:,}"


def places(listed: str) -> Iterator[tuple[str, int, int]]:
    """The places of a list, each as it is usually written."""
    for match in re.finditer(rf"(?:the\s+)?(?P<place>{_ITEM})", listed, re.I):
        name = " ".join(match["place"].split()).rstrip(".,")
        if name.casefold().split()[0] in _NOT_PLACES or len(name) < 2:
            continue
        if name.isupper() and len(name) > 3:
            name = name.title().replace(" Of ", " of ")
        yield name, *match.span("place")


def holder(line: str) -> str:
    """Who holds the copyright that a line states; empty for a blank of a template."""
    name = " ".join(_WITHOUT_HOLDER.sub(" ", line).replace(",", ", ").split()).strip(" ,.;:-–\"'()")
    name = name.replace(" ,", ",")
    return "" if not name or _BLANK.search(re.sub(r"\(c\)", "", line, flags=re.I)) or len(name) > 80 else name


def stated_versions(text: str) -> Iterator[tuple[str, int, int]]:
    """Every number that is called a version."""
    for match in _VERSION.finditer(text):
        yield match["number"], *match.span("number")


def versions(text: str) -> Iterator[tuple[str, int, int]]:
    """Every number that can be a version."""
    for match in _NUMBER.finditer(text):
        yield match["number"], *match.span()
