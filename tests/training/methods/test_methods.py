"""The folder of methods is the list of methods."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import toolkit.training.methods as methods
from toolkit.planning.recipe_values import METHODS
from toolkit.training.methods import Method, method_of


def test_a_recipe_may_name_what_lies_in_the_folder_and_nothing_else() -> None:
    modules = {path.stem for path in Path(methods.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(METHODS) == modules


@pytest.mark.parametrize("name", METHODS)
def test_every_method_offers_the_same_functions(name: str) -> None:
    module = method_of(name)
    for function in ("encode", "train"):
        wanted = inspect.signature(getattr(Method, function))
        assert list(inspect.signature(getattr(module, function)).parameters) == list(wanted.parameters)
