"""What a model's own files say of it: the front matter of its card, its adapter and model configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.files.strict_yaml import Document, load_text

LICENSE_FILES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*", "COPYING*", "Notice*", "License*")


class Card(NamedTuple):
    """The declarations of a card: licence, its name and link, bases; and its text, from line `body_line` on. Empty when
    the folder has no card."""

    licenses: tuple[str, ...] = ()
    license_name: str | None = None
    license_link: str | None = None
    bases: tuple[str, ...] = ()
    relation: str | None = None
    where: str | None = None
    body: str = ""
    body_line: int = 1
    gated_prompt: str | None = None


def read_card(folder: Path) -> Card:
    """Read `README.md`'s front matter. Raises InvalidInput with the line when it is not YAML."""
    path = folder / "README.md"
    if not path.is_file():
        return Card()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TkError("is not text in UTF-8", where=str(path)) from error
    document = front_matter(text, str(path))
    values = document.value if document else None
    body, body_line = _body(text)
    if not isinstance(values, dict):
        return Card(where=str(path), body=body, body_line=body_line)
    assert document is not None
    return Card(
        licenses=_texts(values.get("license")),
        license_name=_first(values.get("license_name")),
        license_link=_first(values.get("license_link")),
        bases=_texts(values.get("base_model")),
        relation=_first(values.get("base_model_relation")),
        where=document.where(("license",)) if "license" in values else f"{path}:1",
        body=body,
        body_line=body_line,
        gated_prompt=_first(values.get("extra_gated_prompt")),
    )


def front_matter(text: str, name: str) -> Document | None:
    """The YAML between the first two `---` lines of a Markdown file, with the lines of the whole file."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    for index, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return load_text("\n".join(lines[1:index]), name, first_line=2)
    return None


def _body(text: str) -> tuple[str, int]:
    """What follows the front matter, and the line on which it begins."""
    lines = text.splitlines()
    if lines and lines[0].strip() == "---":
        for index, line in enumerate(lines[1:], start=1):
            if line.rstrip() == "---":
                return "\n".join(lines[index + 1 :]), index + 2
    return text, 1


def read_config(folder: Path, name: str = "config.json") -> Mapping[str, object] | None:
    """A JSON configuration of a model folder, or None when it has none. Raises InvalidInput when it is not an object."""
    path = folder / name
    if not path.is_file():
        return None
    import json

    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        problem = Problem("", f"not valid JSON: {error.msg}", f"{path}:{error.lineno}")
        raise InvalidInput([problem]) from error
    except UnicodeDecodeError as error:
        raise TkError("is not text in UTF-8", where=str(path)) from error
    if not isinstance(value, dict):
        raise InvalidInput([Problem("", "must be a JSON object", str(path))])
    return cast("Mapping[str, object]", value)


def license_files(folder: Path) -> tuple[Path, ...]:
    """The licence, notice and policy files at the top of a model folder, by name."""
    found = {path for pattern in LICENSE_FILES for path in folder.glob(pattern) if path.is_file()}
    return tuple(sorted(found))


def modalities(config: Mapping[str, object] | None) -> tuple[str, ...] | None:
    """What goes in, as the model's own configuration says: text, and image or audio where it has such a part."""
    if config is None:
        return None
    parts = {"image": ("vision_config", "visual"), "audio": ("audio_config",)}
    return ("text", *(name for name, keys in parts.items() if any(key in config for key in keys)))


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(str(item) for item in value if item is not None) if isinstance(value, list) else (str(value),)


def _first(value: object) -> str | None:
    return next(iter(_texts(value)), None)
