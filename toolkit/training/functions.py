"""Python functions that a recipe names as `file.py:function`: loaded before the base, and known by the file's digest."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import TkError
from toolkit.files.digests import sha256_file


@dataclass(frozen=True, slots=True)
class NamedFunction:
    """A function of the user's, where it stands, and the digest of the file it came from."""

    name: str
    path: Path
    sha256: str
    function: Callable[..., Any]
    takes: frozenset[str] | None  # names of its parameters; None where it takes any (**kwargs)

    def __call__(self, **values: Any) -> Any:
        """Call it with those of `values` that its signature names."""
        given = values if self.takes is None else {name: values[name] for name in values if name in self.takes}
        return self.function(**given)

    def to_json(self) -> dict[str, object]:
        return {"file": self.path.name, "function": self.name, "sha256": self.sha256}


def load_function(path: Path, name: str, offered: Mapping[str, str]) -> NamedFunction:
    """The function `name` of the file `path`. `offered` are the parameters it may take, each with what it holds.

    Raises TkError when the file does not run, lacks the function, or the function asks for something else.
    """
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise TkError("is not a Python file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise TkError(f"does not run: {type(error).__name__}: {error}", where=str(path)) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise TkError(f"has no function {name!r}", where=str(path))
    return NamedFunction(name, path, sha256_file(path), function, _takes(function, path, name, offered))


def _takes(function: Callable[..., Any], path: Path, name: str, offered: Mapping[str, str]) -> frozenset[str] | None:
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    unknown = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and (parameter.name not in offered or parameter.kind is parameter.POSITIONAL_ONLY)
        and parameter.kind is not parameter.VAR_POSITIONAL
    ]
    if unknown:
        known = "; ".join(f"{key}: {says}" for key, says in offered.items())
        raise TkError(
            f"{name} asks for {', '.join(unknown)}, which nobody gives", where=str(path), hint=f"take {known}"
        )
    return frozenset(parameter.name for parameter in parameters if parameter.name in offered)
