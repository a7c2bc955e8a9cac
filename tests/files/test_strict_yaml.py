"""YAML means what it looks like, and every value knows its line."""

import pytest

from toolkit.errors import InvalidInput
from toolkit.files.strict_yaml import load_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("2.0e-4", 2e-4),
        ("NO", "NO"),
        ("on", "on"),
        ("3:10", "3:10"),
        ("2024-06-01", "2024-06-01"),
        ("0x1F", 31),
        ("true", True),
        ("~", None),
        ("'1'", "1"),
        ("1_000", "1_000"),
    ],
)
def test_a_plain_scalar_is_read_by_the_core_schema_of_yaml_1_2(text, value):
    read = load_text(f"a: {text}", "x.yaml").value["a"]
    assert read == value
    assert type(read) is type(value)


def test_a_repeated_key_is_an_error_with_its_line():
    with pytest.raises(InvalidInput, match=r"a: this key stands twice; keep one \(x\.yaml:3\)"):
        load_text("a: 1\nb: 2\na: 3\n", "x.yaml")


def test_a_syntax_error_names_its_line():
    with pytest.raises(InvalidInput, match=r"not valid YAML: .*\(x\.yaml:3\)"):
        load_text("a: 1\nb: [1, 2\n", "x.yaml")


def test_values_know_their_lines():
    document = load_text("a: 1\nb:\n  - 1\n  - {c: 2}\n", "x.yaml")
    assert document.where(("b", 1, "c")) == "x.yaml:4"
    assert document.where(("b", "missing")) == "x.yaml:2"


@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [*a]",
        "\n".join(
            [f"k0: &k0 [{', '.join('x' * 9)}]"]
            + [f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]" for i in range(1, 9)]
        ),
        "a: " + "[" * 500 + "]" * 500,
    ],
)
def test_a_file_that_unfolds_without_end_is_refused(bomb):
    with pytest.raises(InvalidInput):
        load_text(bomb, "bomb.yaml")
