"""Every base that `recipes/bases/` knows counts to the parameter what transformers instantiates on the meta device."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from toolkit.files.shipped import shipped
from toolkit.files.strict_yaml import load_file
from toolkit.planning.bases import known_bases
from toolkit.planning.shape import read_shape

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# What is neither a width nor a number of layers costs nothing to count: variants of one size differ in it alone.
_SIZELESS = frozenset(("max_position_embeddings", "sliding_window"))


def configurations() -> dict[str, dict[str, object]]:
    """One configuration for each size in the files, under the first hub id that has it."""
    found: dict[tuple[str, ...], tuple[str, dict[str, object]]] = {}
    for path in sorted((shipped("recipes") / "bases").glob("*.yaml")):
        content = load_file(path).value
        assert isinstance(content, Mapping)
        for entry in content["bases"]:
            config = {"model_type": content["model_type"], **entry["config"]}
            size = tuple(f"{name}={config[name]}" for name in sorted(set(config) - _SIZELESS))
            found.setdefault(size, (entry["ids"][0], config))
    return dict(found.values())


CONFIGURATIONS = configurations()


def instantiated(config: Mapping[str, object]) -> int:
    """Parameters of the model class, shared ones counted once."""
    settings = {name: value for name, value in config.items() if name != "model_type"}
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(str(config["model_type"]), **settings)
        )
    model.tie_weights()
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_known_base_counts_what_transformers_instantiates(name: str) -> None:
    assert read_shape(CONFIGURATIONS[name]).parameters == instantiated(CONFIGURATIONS[name])


def test_every_entry_has_one_of_the_counted_sizes() -> None:
    counted = {read_shape(config).parameters for config in CONFIGURATIONS.values()}
    assert {base.shape.parameters for base in known_bases()} == counted
