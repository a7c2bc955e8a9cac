"""Where the organisation's policy is: `--policy`, `TK_POLICY`, or `[tool.tk]` of the nearest pyproject.toml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import InvalidInput, Problem, TkError

if TYPE_CHECKING:
    from toolkit.licensing.policy import Policy


def find_policy(named: Path | None) -> Policy | None:
    """The policy that holds, or None. Raises TkError or InvalidInput when what is named cannot be read."""
    path = named or (Path(os.environ["TK_POLICY"]) if os.environ.get("TK_POLICY") else None)
    return _from_yaml(path) if path else _from_project()


def _from_yaml(path: Path) -> Policy:
    from toolkit.files.strict_yaml import load_file
    from toolkit.licensing.library import library
    from toolkit.licensing.policy import read_policy

    return read_policy(load_file(path), library())


def _from_project() -> Policy | None:
    """`policy = "file"` below `[tool.tk]`, or the policy itself below `[tool.tk.policy]`."""
    folder = next(
        (parent for parent in (Path.cwd(), *Path.cwd().parents) if (parent / "pyproject.toml").is_file()), None
    )
    if folder is None:
        return None
    path = folder / "pyproject.toml"
    text = path.read_text(encoding="utf-8", errors="replace")
    if "[tool.tk" not in text:  # spares most projects the reading of TOML
        return None
    import tomllib

    try:
        stated = tomllib.loads(text).get("tool", {}).get("tk", {}).get("policy")
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput([Problem("", f"not valid TOML: {error}", str(path))]) from error
    if stated is None:
        return None
    if isinstance(stated, str):
        return _from_yaml(folder / stated)
    if not isinstance(stated, dict):
        raise TkError("tool.tk.policy must be a file name or a table", where=str(path))
    from toolkit.files.strict_yaml import Document
    from toolkit.licensing.library import library
    from toolkit.licensing.policy import read_policy

    line = next(
        (number for number, row in enumerate(text.splitlines(), start=1) if row.startswith("[tool.tk.policy")), 1
    )
    return read_policy(Document(stated, str(path), {(): line}), library())
