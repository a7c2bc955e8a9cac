"""What fits where: a recipe on every card, every base on one device, and the shipped recipes by memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.planning.planned import QWEN, recipe, shape_of
from toolkit.files.shipped import shipped
from toolkit.licensing.library import library
from toolkit.models.reference import parse_reference
from toolkit.models.resolve import Access, resolve
from toolkit.planning.bases import known_bases
from toolkit.planning.gpu import cards, named
from toolkit.planning.matrix import Entry, over_bases, over_gpus
from toolkit.planning.plan import make_plan
from toolkit.planning.prepare import shape_of as shape_of_snapshot
from toolkit.planning.recipe import load_recipe
from toolkit.planning.recipe_values import AdapterSettings
from toolkit.planning.rows import rows_of


@pytest.fixture(scope="module")
def on_gpus() -> tuple[Entry, ...]:
    return over_gpus(recipe(adapter=AdapterSettings("qlora")), shape_of(QWEN))


def test_every_card_of_the_table_has_a_row_and_the_smallest_comes_first(on_gpus: tuple[Entry, ...]) -> None:
    assert {entry.name for entry in on_gpus} == {card.name for card in cards()}
    sizes = [entry.usable_bytes for entry in on_gpus]
    assert sizes == sorted(sizes)


def test_a_card_that_cannot_do_what_is_asked_says_why(on_gpus: tuple[Entry, ...]) -> None:
    ascend = next(entry for entry in on_gpus if entry.name == "Ascend 910B (64GB class)")
    assert ascend.fit == "impossible"
    assert "qlora needs bitsandbytes" in str(ascend.to_json()["problem"])


def test_more_memory_of_one_kind_never_turns_a_fit_into_none(on_gpus: tuple[Entry, ...]) -> None:
    fits = [entry.fit != "does-not-fit" for entry in on_gpus if entry.name.startswith(("RTX", "A100", "H"))]
    assert fits == sorted(fits)
    assert True in fits


def test_several_of_each_card_hold_what_one_does_not() -> None:
    alone, four = (over_gpus(recipe(), shape_of("Qwen/Qwen2.5-72B"), gpus=gpus) for gpus in (None, 4))
    held = [{entry.name for entry in entries if entry.fit in ("comfortable", "tight")} for entries in (alone, four)]
    assert held[0] < held[1]
    assert "A100 40GB" in held[1] - held[0]


def test_every_known_base_has_a_row_with_its_licence() -> None:
    entries = over_bases(recipe(), named("24GiB"))
    assert len(entries) == len(known_bases())
    rows = {entry.name: entry.to_json() for entry in entries}
    assert rows["Qwen/Qwen2.5-7B"]["license"] == "Apache License 2.0"
    assert (rows["Qwen/Qwen2.5-7B"]["fit"], rows["deepseek-ai/DeepSeek-V3"]["fit"]) == ("comfortable", "does-not-fit")
    assert rows["Qwen/Qwen2.5-7B"]["tokens_per_second"]


def recipes_by_size() -> Iterator[tuple[str, int]]:
    for path in sorted(shipped("recipes").glob("*.yaml")):
        for size in (8, 12, 16, 24, 48, 80, 141):
            yield path.name, size


@pytest.mark.parametrize(("name", "size"), recipes_by_size())
def test_a_shipped_recipe_fits_or_is_told_what_would(name: str, size: int) -> None:
    loaded = load_recipe(f"recipes/{name}")
    snapshot = resolve(parse_reference(loaded.base), Access(library(), offline=True))
    plan = make_plan(loaded, shape_of_snapshot(snapshot), named(f"{size}GiB"), rows=rows_of(loaded))
    assert (plan.fit == "does-not-fit") == bool(plan.suggestions)
    assert not any(text.startswith("nothing") for text in plan.suggestions)
    assert plan.estimate is not None
    assert 0 < plan.estimate.step_seconds < 60
