"""The model card: front matter that hubs read rightly, and a body that user text cannot break."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.release.runs import LLAMA_OBLIGATIONS, apache_run, llama_run
from toolkit.files.strict_yaml import load_text
from toolkit.release.card import escape, render_card
from toolkit.release.card_html import render_card_html
from toolkit.release.facts import facts_of
from toolkit.release.front_matter import write_yaml
from toolkit.release.provenance import make_provenance
from toolkit.release.record import read_record

HOSTILE = "a|b\n# c <script>alert(1)</script> --- `x` [l](javascript:alert(1)) ![i](http://evil/x.png)"


def front(card: str) -> dict[str, Any]:
    _, text, _ = card.split("---\n", 2)
    value = load_text(text, "card").value
    assert isinstance(value, dict)
    assert yaml.safe_load(text) == value  # a YAML 1.1 reader must understand the same
    return value


def test_a_card_over_one_permissive_licence_shows_it(tmp_path: Path):
    keys = front(render_card(read_record(apache_run(tmp_path))))
    assert keys["license"] == "apache-2.0"
    assert keys["base_model"] == ["Qwen/Qwen2.5-0.5B"]
    assert keys["base_model_relation"] == "adapter"
    assert keys["library_name"] == "peft"
    assert "licence" not in keys


def test_a_planned_licence_is_shown_over_permissive_bases(tmp_path: Path):
    use = {"distribution": "weights", "release": {"name": "x", "license": "mit"}}
    assert front(render_card(read_record(apache_run(tmp_path, use=use))))["license"] == "mit"


def test_a_planned_licence_that_the_verdict_objects_to_is_not_shown(tmp_path: Path):
    use = {"distribution": "weights", "release": {"license": "mit"}}
    verdict = {"findings": [{"id": "planned-license-lacks-use-restrictions", "severity": "error", "text": "x"}]}
    assert front(render_card(read_record(apache_run(tmp_path, use=use, verdict=verdict))))["license"] == "apache-2.0"


def test_a_planned_licence_never_hides_a_restrictive_base(tmp_path: Path):
    use = {"distribution": "weights", "release": {"name": "Llama-x", "license": "apache-2.0"}}
    card = render_card(read_record(llama_run(tmp_path, use=use)))
    assert front(card)["license"] != "apache-2.0"
    assert "Apache-2.0 was planned" in card or "Apache License 2.0 was planned" in card


def test_of_a_permissive_and_a_restrictive_licence_the_restrictive_one_is_shown(tmp_path: Path):
    effective = [
        {"id": "mit", "spdx": "MIT", "role": "model", "from": "deepseek-ai/R1", "evidence": "LICENSE"},
        {
            "id": "llama-3.1",
            "spdx": "LicenseRef-x",
            "role": "model",
            "from": "meta-llama/Llama-3.1-8B",
            "evidence": "base",
        },
    ]
    facts = facts_of(read_record(llama_run(tmp_path, verdict={"effective_licenses": effective})))
    assert facts.terms.id == "llama-3.1"
    assert facts.concluded == "LicenseRef-x AND MIT"


def test_two_restrictive_licences_are_both_named(tmp_path: Path):
    effective = [
        {"id": name, "spdx": f"LicenseRef-{name}", "role": "model", "from": name, "evidence": "LICENSE"}
        for name in ("restrictive-a", "restrictive-b")
    ]
    keys = front(render_card(read_record(llama_run(tmp_path, verdict={"effective_licenses": effective}))))
    assert (keys["license"], keys["license_name"]) == ("other", "restrictive-a-and-restrictive-b")


def test_an_unknown_licence_is_said_to_be_unknown(tmp_path: Path):
    effective = [{"id": None, "spdx": "NOASSERTION", "role": "model", "from": "x/y", "evidence": "none"}]
    facts = facts_of(read_record(apache_run(tmp_path, verdict={"effective_licenses": effective})))
    assert (facts.terms.hub_key, facts.declared, facts.concluded) == ("unknown", "NOASSERTION", "NOASSERTION")


def test_only_hub_data_sets_are_listed_as_data_sets(tmp_path: Path):
    local = front(render_card(read_record(apache_run(tmp_path / "a"))))
    assert "datasets" not in local
    data = {
        "train": {"path": "x", "sha256": "0" * 64},
        "id": "databricks/databricks-dolly-15k",
        "license": "cc-by-sa-3.0",
    }
    hub = front(render_card(read_record(apache_run(tmp_path / "b", record={"data": data}))))
    assert hub["datasets"] == ["databricks/databricks-dolly-15k"]


def test_held_out_results_stand_in_the_model_index(tmp_path: Path):
    keys = front(render_card(read_record(apache_run(tmp_path))))
    metrics = keys["model-index"][0]["results"][0]["metrics"]
    assert {metric["type"]: metric["value"] for metric in metrics} == {
        "loss": 1.1,
        "perplexity": 3.0,
        "exact_match": 0.5,
    }


def test_the_hubs_own_library_reads_the_front_matter(tmp_path: Path):
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(render_card(read_record(llama_run(tmp_path)))).data
    assert data.base_model == ["meta-llama/Llama-3.1-8B"]
    assert {result.metric_type for result in data.eval_results} == {"loss", "perplexity", "exact_match"}


def test_a_run_without_evaluation_says_so(tmp_path: Path):
    card = render_card(read_record(apache_run(tmp_path, record={"evaluation": None})))
    assert "None was run." in card
    assert "model-index" not in front(card)


def test_a_local_path_of_the_base_stays_private(tmp_path: Path):
    base = {"id": "/home/jane/models/secret-base", "revision": None, "source": "folder", "files": {}}
    effective = [
        {"id": "mit", "spdx": "MIT", "role": "model", "from": "/home/jane/models/secret-base", "evidence": "LICENSE"}
    ]
    record = read_record(apache_run(tmp_path, record={"base": base}, verdict={"effective_licenses": effective}))
    assert front(render_card(record))["base_model"] == ["secret-base"]
    assert "/home/jane" not in render_card(record)


def test_a_display_owed_is_prominent_on_the_card(tmp_path: Path):
    card = render_card(read_record(llama_run(tmp_path)))
    assert card.index("Built with Llama") < card.index("## Intended use")


def test_open_obligations_are_called_open_before_a_release(tmp_path: Path):
    row = next(
        line for line in render_card(read_record(llama_run(tmp_path))).splitlines() if line.startswith("| `aup`")
    )
    assert "open:" in row


def test_an_acknowledgement_and_assumptions_are_on_the_card(tmp_path: Path):
    permit = {"granted": "2026-11-23", "verdict": "needs-review", "acknowledged": "counsel, ticket 12"}
    card = render_card(
        read_record(apache_run(tmp_path, verdict={"verdict": "needs-review"}, record={"permit": permit}))
    )
    assert "counsel, ticket 12" in card
    assert "fewer than 700 million monthly users" in card


def test_remote_code_is_told_on_the_card(tmp_path: Path):
    run = apache_run(tmp_path)
    record = dict(read_record(run))
    record["recipe"] = {**record["recipe"], "resolved": {**record["recipe"]["resolved"], "trust_remote_code": True}}  # type: ignore[dict-item]
    assert "runs code from its own repository" in render_card(record)
    assert "trust_remote_code=True" in render_card(record)


def test_a_qlora_adapter_is_loaded_in_four_bits_and_at_the_revision(tmp_path: Path):
    run = apache_run(tmp_path)
    record = dict(read_record(run))
    record["adapter"] = {**record["adapter"], "type": "qlora"}  # type: ignore[dict-item]
    code = render_card(record).split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert "load_in_4bit=True" in code
    assert "revision='0123456789abcdef0123456789abcdef01234567'" in code


def test_an_adapter_on_parameters_of_a_mixture_is_loaded_over_the_unquantised_base(tmp_path: Path):
    """PEFT names them by `target_parameters`, which it cannot find in a 4-bit base."""
    record = dict(read_record(apache_run(tmp_path)))
    targets = {"type": "qlora", "target_modules": ["q_proj", "shared_experts.up_proj"]}
    record["adapter"] = {**record["adapter"], **targets}  # type: ignore[dict-item]
    code = render_card(record).split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert "BitsAndBytesConfig" not in code
    assert "PeftModel.from_pretrained" in code


def test_an_embedded_base_is_loaded_from_the_package(tmp_path: Path):
    base = {"id": "embedded:qwen2", "revision": None, "source": "embedded", "files": {}}
    card = render_card(read_record(apache_run(tmp_path, record={"base": base})))
    code = card.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert "folder_with_weights('qwen2')" in code
    assert front(card)["base_model"] == ["embedded:qwen2"]


def hostile_record(folder: Path) -> Any:
    use = {"purpose": HOSTILE, "distribution": "weights", "release": {"name": "Llama | x\nlicence: evil\n---"}}
    obligations = [{**entry, "text": HOSTILE} for entry in LLAMA_OBLIGATIONS]
    samples = {
        "rows": 1,
        "before": {"loss": 1.0},
        "after": {"loss": 2.0},
        "samples": [dict.fromkeys(("prompt", "expected", "before", "after"), HOSTILE)],
    }
    return read_record(llama_run(folder, use=use, verdict={"obligations": obligations}, record={"evaluation": samples}))


def test_hostile_text_breaks_neither_front_matter_nor_tables(tmp_path: Path):
    card = render_card(hostile_record(tmp_path))
    keys = front(card)
    assert keys["model_name"] == "Llama | x\nlicence: evil\n---"
    assert "licence" not in keys
    body = card.split("---\n\n", 1)[1]
    assert "<script" not in body
    widths = [line.replace("\\|", "").count("|") for line in body.splitlines() if line.startswith("|")]
    assert set(widths) <= {3, 4, 5, 6}
    tables = body.split("\n\n")
    assert all(
        len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1
        for table in tables
        if table.startswith("|")
    )
    assert "](javascript" not in body.replace("\\]", "")


def test_a_worse_result_is_called_worse(tmp_path: Path):
    card = render_card(hostile_record(tmp_path))
    assert next(line for line in card.splitlines() if line.startswith("| Loss")).endswith("+1, worse |")


class Loads(HTMLParser):
    """Collects what a browser would request, and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "a":
            self.requests += [
                value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action", "poster")
            ]


def test_the_html_card_is_whole_in_itself(tmp_path: Path):
    page = render_card_html(hostile_record(tmp_path))
    parser = Loads()
    parser.feed(page)
    assert parser.requests == []
    assert not {"script", "img", "link", "iframe", "object", "embed"} & set(parser.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert "Built with Llama" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_html_tags_are_closed_in_order(tmp_path: Path):
    open_tags: list[str] = []

    class Balanced(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta",):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Balanced().feed(render_card_html(hostile_record(tmp_path)))
    assert open_tags == []


@pytest.mark.parametrize(
    "value",
    [
        "NO",
        "1e-5",
        "3:10",
        "a: b",
        "- x",
        "",
        " x ",
        "é",
        "null",
        "~",
        "#x",
        "x #y",
        "'",
        '"',
        "a\u2028b",
        "a\x85b",
        "🦙",
        "on",
        "{",
        "x:",
    ],
)
def test_any_string_comes_back_from_both_kinds_of_yaml_reader(value: str):
    text = write_yaml({"key": value, "list": [value], "nested": [{"a": value, "b": [{"c": value}]}]})
    expected = {"key": value, "list": [value], "nested": [{"a": value, "b": [{"c": value}]}]}
    assert load_text(text, "x").value == expected
    assert yaml.safe_load(text) == expected


@pytest.mark.parametrize("value", [1e-05, 1.5, 3.0, 1e22, 12, True, False, None])
def test_any_number_comes_back_as_a_number(value: object):
    text = write_yaml({"key": value})
    assert load_text(text, "x").value == yaml.safe_load(text) == {"key": value}


def test_escaped_text_is_shown_as_it_was():
    markdown = pytest.importorskip("markdown_it")
    for words in ("a*b*c", "_x_", "snake_case_name", "[a](b)", "<b>", "a|b", "`code`", "~~x~~", "a\\b", "&amp;", "$x$"):
        shown = markdown.MarkdownIt("js-default").render(f"text {escape(words)}")
        import html

        assert html.unescape(shown) == f"<p>text {words}</p>\n"


def test_a_folder_is_not_taken_for_the_model_it_descends_from(tmp_path: Path):
    """Other weights lie in the folder; the ancestor is lineage, and none of the folder's digests belong to it."""
    base = {
        "id": "./tuned llama",
        "revision": None,
        "source": "folder",
        "files": {"model.safetensors": {"sha256": "a" * 64}},
    }
    effective = [
        {"id": "llama-3.1", "spdx": "LicenseRef-x", "role": "model", "from": work, "evidence": "card"}
        for work in ("./tuned llama", "meta-llama/Llama-3.1-8B")
    ]
    changed = {"base": base}
    record = read_record(llama_run(tmp_path, record=changed, verdict={"effective_licenses": effective}))
    card = render_card(record)
    assert front(card)["base_model"] == ["meta-llama/Llama-3.1-8B"]
    assert "base_model_relation" not in front(card)
    assert "adapter for `tuned llama`" in card
    statement = make_provenance(facts_of(record, None), {})
    dependency = next(
        entry
        for entry in statement["predicate"]["buildDefinition"]["resolvedDependencies"]  # type: ignore[index]
        if entry["name"] == "base/model.safetensors"
    )
    assert "uri" not in dependency
