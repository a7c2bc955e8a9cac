"""Every licence file is whole, and a file that is not is refused with what is wrong and where."""

import shutil
from pathlib import Path

import pytest

from toolkit.errors import TkError
from toolkit.files.shipped import shipped
from toolkit.files.strict_yaml import load_file
from toolkit.licensing.library import Library, library, matches

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))
SHIPPED = library().ids


@pytest.mark.parametrize("identifier", SHIPPED)
def test_a_shipped_licence_is_whole(identifier):
    terms = library().terms(identifier)
    assert terms.rules or terms.head.unread
    assert all(rule.clause and rule.summary for rule in terms.rules)
    assert "origin" in terms.head.source
    assert "read" in terms.head.source or terms.head.unread


@pytest.mark.parametrize("identifier", SHIPPED)
def test_a_policy_that_a_licence_incorporates_is_there(identifier):
    for policy, clause in library().head(identifier).incorporates:
        assert library().head(policy).subject == "policy"
        assert clause


@pytest.mark.parametrize("identifier", SHIPPED)
def test_a_name_or_a_notice_that_is_fixed_can_be_checked_on_the_release(identifier):
    for rule in library().terms(identifier).rules:
        if rule.obligation in ("name-prefix", "notice-file"):
            assert rule.value, rule.id
            assert rule.check == "automatic", rule.id


@pytest.mark.parametrize("identifier", SHIPPED)
def test_every_pattern_and_mention_of_a_head_is_found_without_parsing_it(identifier):
    head = library().head(identifier)
    for pattern in head.models:
        assert f"match: {pattern.match.partition('/')[0]}/" in library().head_texts[identifier]
    for phrase in load_file(shipped("licenses") / f"{identifier}.yaml").value.get("mentions", ()):
        named = library().mentioned(f"Licensed under the {phrase}.")
        assert "data" in phrase.lower() or [found for found, _ in named] == [identifier], phrase


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_licence_is_refused_with_the_reason(path, tmp_path):
    shutil.copyfile(shipped("licenses") / "vocabulary.yaml", tmp_path / "vocabulary.yaml")
    first, _, rest = path.read_text().partition("\n")
    assert first.startswith("# expect: ")
    (tmp_path / "bad-1.0.yaml").write_text(rest)
    with pytest.raises(TkError) as caught:
        Library(tmp_path).terms("bad-1.0")
    assert first.removeprefix("# expect: ") in caught.value.message


@pytest.mark.parametrize(
    ("pattern", "model", "expected"),
    [
        ("Qwen/Qwen2.5-7B*", "Qwen/Qwen2.5-7B-Instruct", True),
        ("Qwen/Qwen2.5-7B*", "qwen/qwen2.5-7b", True),
        ("Qwen/Qwen2.5-7B*", "Qwen/Qwen2.5-72B", False),
        ("a/b", "a/bc", False),
        ("a/*-x-*", "a/1-x-2", True),
        ("a/*b*b", "a/b", False),
        ("a/*b*b", "a/bb", True),
    ],
)
def test_a_pattern_matches_whole_ids(pattern, model, expected):
    assert matches(pattern, model) is expected


@pytest.mark.parametrize(
    ("model", "licenses"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", {"apache-2.0"}),
        ("Qwen/Qwen2.5-3B-Instruct", {"qwen-research-2024"}),
        ("Qwen/Qwen2.5-72B-Instruct", {"qwen-2024"}),
        ("Qwen/Qwen2.5-Coder-3B", {"qwen-research-2024"}),
        ("meta-llama/Llama-3.1-8B", {"llama-3.1"}),
        ("meta-llama/Llama-3.3-70B-Instruct", {"llama-3.3"}),
        ("deepseek-ai/DeepSeek-V3", {"deepseek-la-1.0"}),
        ("deepseek-ai/DeepSeek-V3-0324", {"mit"}),
        ("deepseek-ai/DeepSeek-R1", {"mit"}),
        ("deepseek-ai/DeepSeek-V2-Lite-Chat", {"deepseek-la-1.0"}),
        ("mistralai/Mistral-7B-Instruct-v0.3", {"apache-2.0"}),
        ("acme/Qwen2.5-7B", set()),
    ],
)
def test_the_catalogue_tells_sizes_and_versions_apart(model, licenses):
    assert {match.head.id for match in library().catalogued(model)} == licenses


@pytest.mark.parametrize(
    ("key", "name", "identifier"),
    [
        ("apache-2.0", None, "apache-2.0"),
        ("Apache-2.0", None, "apache-2.0"),
        ("llama3.1", None, "llama-3.1"),
        ("other", "qwen-research", "qwen-research-2024"),
        ("other", "deepseek-license", "deepseek-la-1.0"),
        ("CC-BY-4.0", None, "cc-by-4.0"),
        ("other", None, None),
        ("banana", None, None),
    ],
)
def test_a_declaration_is_understood_or_not(key, name, identifier):
    head = library().declared(key, name)
    assert (head.id if head else None) == identifier
