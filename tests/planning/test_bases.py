"""Every known base adds up to the parameters its file states."""

from __future__ import annotations

import pytest

from toolkit.planning.bases import KnownBase, known_base, known_bases, known_shape, siblings


@pytest.mark.parametrize("base", known_bases(), ids=lambda base: base.ids[0])
def test_a_known_base_adds_up_to_its_parameters(base: KnownBase) -> None:
    assert base.shape.parameters == base.parameters


def test_no_hub_id_stands_twice() -> None:
    ids = [name.lower() for base in known_bases() for name in base.ids]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("hub_id", "billions"),
    [
        ("Qwen/Qwen2.5-0.5B", 0.49),
        ("Qwen/Qwen2.5-72B-Instruct", 72.7),
        ("Qwen/Qwen2.5-Math-7B", 7.62),
        ("Qwen/Qwen2.5-Coder-32B-Instruct", 32.8),
        ("Qwen/Qwen3-30B-A3B", 30.5),
        ("meta-llama/Llama-3.2-1B-Instruct", 1.24),
        ("meta-llama/Llama-3.3-70B-Instruct", 70.6),
        ("mistralai/Mistral-Nemo-Instruct-2407", 12.2),
        ("deepseek-ai/DeepSeek-V2-Lite", 15.7),
        ("deepseek-ai/DeepSeek-V2", 235.7),
        ("deepseek-ai/DeepSeek-R1", 671.0),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1.78),
    ],
)
def test_a_published_base_has_the_advertised_size(hub_id: str, billions: float) -> None:
    shape = known_shape(hub_id)
    assert shape is not None
    assert shape.parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_letter_case_and_revision_do_not_matter() -> None:
    assert known_shape("qwen/qwen2.5-7b@a09a354") == known_shape("Qwen/Qwen2.5-7B") is not None


def test_an_unknown_base_has_no_shape() -> None:
    assert known_shape("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4") is None
    assert siblings("acme/unknown") == ()


def test_siblings_are_of_the_same_family_and_the_largest_comes_first() -> None:
    base = known_base("meta-llama/Llama-3.1-8B")
    found = siblings("meta-llama/Llama-3.1-8B")
    assert base not in found
    assert [round(other.parameters / 1e9) for other in found] == [406, 71, 3, 1]
