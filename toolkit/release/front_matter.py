"""The front matter of a card: the keys that a model hub reads, and nothing that it would misread."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from toolkit.release.evaluated import score_words, scores
from toolkit.release.facts import Facts, is_hub_id
from toolkit.release.record import entries_of

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+-]+)*\Z")
_RESERVED = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")  # json.dumps leaves these raw; YAML readers do not take them
_FAMILIES = ("qwen", "llama", "mistral", "deepseek", "gemma", "phi", "kimi", "glm", "minimax", "yi", "granite", "olmo")


def front_matter(facts: Facts) -> dict[str, object]:
    """The keys of the front matter, in the order they are written."""
    terms = facts.terms
    keys: dict[str, object] = {"license": terms.hub_key}
    if terms.hub_key == "other":
        keys["license_name"] = terms.hub_name
        has_text = any(entry.get("id") == terms.id for entry in entries_of(facts.record, "licenses"))
        keys["license_link"] = "LICENSE" if has_text or not terms.url else terms.url
    parents = _parents(facts)
    keys["base_model"] = parents or [facts.base.name]
    if not parents:
        keys["base_model_relation"] = facts.form.relation
    keys["library_name"] = facts.form.library
    keys["pipeline_tag"] = "text-generation"
    keys["tags"] = _tags(facts)
    if datasets := [dataset.name for dataset in facts.data if dataset.is_hub]:
        keys["datasets"] = datasets
    keys["model_name"] = facts.name
    if results := _results(facts):
        keys["model-index"] = [{"name": facts.name, "results": results}]
    return keys


def _parents(facts: Facts) -> list[str]:
    """What a base that is only a folder on somebody's disk descends from, as hubs know it; the adapter fits the folder,
    not these, so no relation is claimed."""
    if facts.base.source != "folder":
        return []
    works = (item.work for item in facts.effective if item.role == "model" and item.work != facts.base.name)
    return [work for work in dict.fromkeys(works) if is_hub_id(work)]


def write_yaml(value: Mapping[str, object]) -> str:
    """YAML that every reader understands alike: words bare, every other string in double quotes."""
    return "".join(_lines(value, ""))


def _tags(facts: Facts) -> list[str]:
    found = (family for family in _FAMILIES if family in facts.base.name.lower())
    return list(dict.fromkeys([*facts.adapter_tags, "tk", *found]))


def _results(facts: Facts) -> list[dict[str, object]]:
    """Held-out results after training, as the hub's model index wants them."""
    names = {"loss": "Held-out loss", "perplexity": "Held-out perplexity"}
    metrics = [
        {"type": name, "value": value, "name": names.get(name) or score_words(name)}
        for name, value in scores(facts.record, "after").items()
    ]
    if not metrics:
        return []
    data = facts.data[0]
    return [
        {
            "task": {"type": "text-generation", "name": "Text generation"},
            "dataset": {"type": data.name if data.is_hub else "held-out", "name": f"{data.name} (held out)"},
            "metrics": metrics,
        }
    ]


def _lines(value: object, indent: str) -> list[str]:
    if isinstance(value, Mapping):
        return [part for key, item in value.items() for part in _entry(f"{indent}{_scalar(str(key))}:", item, indent)]
    lines = []
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping | list):
            first, *rest = _lines(item, indent + "  ")
            lines += [f"{indent}- {first.lstrip()}", *rest]
        else:
            lines.append(f"{indent}- {_scalar(item)}\n")
    return lines


def _entry(key: str, item: object, indent: str) -> list[str]:
    if isinstance(item, Mapping | list):
        return [f"{key}\n", *_lines(item, indent + ("  " if isinstance(item, Mapping) else ""))]
    return [f"{key} {_scalar(item)}\n"]


def _scalar(value: object) -> str:
    if isinstance(value, str):
        if _PLAIN.match(value) and value.lower() not in _RESERVED:
            return value
        return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
    if isinstance(value, float):
        return re.sub(r"\A(-?\d+)e", r"\1.0e", repr(value))  # 1e-05 is text to YAML 1.1, 1.0e-05 a number to all
    return json.dumps(value)
