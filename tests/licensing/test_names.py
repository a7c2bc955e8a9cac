"""Names give away what a re-upload was made from, and prose which licences it names."""

import pytest

from toolkit.licensing.library import library
from toolkit.licensing.names import known_names, mentioned, resemblance


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("unsloth/Qwen2.5-3B-Instruct-bnb-4bit", "Qwen/Qwen2.5-3B-Instruct"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
        ("bartowski/DeepSeek-R1-Distill-Llama-8B-GGUF", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"),
        ("mlx-community/Qwen3-8B-4bit", "Qwen/Qwen3-8B"),
        ("acme/Qwen2.5-72B-Instruct-quantized.w8a8", "Qwen/Qwen2.5-72B-Instruct"),
        ("acme/support-qwen2.5-7b", "Qwen/Qwen2.5-7B"),
        ("acme/Llama-3.1-Nemotron-70B", "meta-llama/Llama-3.1-*"),  # which of them it was is not known
        ("/data/models/Llama-3.1-8B/", "meta-llama/Llama-3.1-8B"),
        ("acme/DeepSeek-V3-0324-GGUF", "deepseek-ai/DeepSeek-V3-0324"),
    ],
)
def test_a_name_shows_its_base(name, base):
    assert library().resemblance(name).base == base


@pytest.mark.parametrize(
    "name", ["acme/support-bot", "acme/7B-chat", "acme/SuperQwen2.5-7B", "acme/chat-gpt-4-style", "acme/Jan", ""]
)
def test_a_name_that_shows_none_is_left_alone(name):
    assert library().resemblance(name) is None


def test_the_longest_pattern_wins():
    heads = {"short": "\nsubject: model\n - {match: org/Big-*}", "long": "\nsubject: model\n - {match: org/Big-3B*}"}
    assert resemblance("acme/Big-3B-GGUF", known_names(heads)).pattern == "org/Big-3B*"


HEADS = {
    "llama-3.1": 'mentions: ["Llama 3.1 Community License"]',
    "llama-3": 'mentions: ["Llama 3 Community License"]',
    "nc": 'mentions: ["CC-BY-NC-4.0"]',
    "by": 'mentions: ["CC-BY", "CC-BY-4.0"]',
    "mit": 'mentions: ["MIT License"]',
}


def test_a_licence_that_prose_names_is_found_with_its_line():
    text = "# Model\n\nUnder the Llama 3.1 Community License, see below.\n"
    assert list(mentioned(text, HEADS)) == [("llama-3.1", 3)]


def test_a_shorter_phrase_inside_a_longer_one_is_not_named():
    assert list(mentioned("released under cc-by-nc-4.0", HEADS)) == [("nc", 1)]


@pytest.mark.parametrize("line", ["The dataset is CC-BY-NC-4.0.", "The code is under the MIT License."])
def test_what_data_and_code_are_under_is_not_what_a_model_is_under(line):
    assert list(mentioned(line, HEADS)) == []
