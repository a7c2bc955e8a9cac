"""SARIF, JUnit and Markdown carry what the verdict says, in the shape that their readers want."""

import json
import re
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from toolkit.cli.main import tk

LLAMA = ["license-check", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "--offline"]
USE = "distribution: weights\ncommercial: true\nrelease:\n  name: acme/Support-8B\n"


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def run(*arguments):
    return CliRunner().invoke(tk, list(arguments))


def sarif(*arguments):
    return json.loads(run(*arguments, "--format", "sarif").stdout)["runs"][0]


def place(result):
    location = result["locations"][0]["physicalLocation"]
    return location["artifactLocation"]["uri"], location["region"]["startLine"]


def test_every_result_has_a_rule_a_message_and_a_place():
    run_ = sarif(*LLAMA, "--distribution", "weights", "--commercial")
    rules = [rule["id"] for rule in run_["tool"]["driver"]["rules"]]
    assert len(rules) == len(set(rules))
    assert run_["results"]
    for result in run_["results"]:
        uri, line = place(result)
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        assert uri
        assert not uri.startswith("/")
        assert line >= 1


def test_sarif_carries_findings_questions_obligations_and_assumptions():
    verdict = json.loads(run(*LLAMA, "--commercial", "--format", "json").stdout)
    said = [result["ruleId"] for result in sarif(*LLAMA, "--commercial")["results"]]
    wanted = [
        *(finding["id"] for finding in verdict["findings"]),
        *(f"question/{question['fact']}" for question in verdict["questions"]),
        *(f"obligation/{owed['id']}" for owed in verdict["obligations"]),
        *("assumption" for _ in verdict["assumptions"]),
    ]
    assert said == wanted


def test_a_finding_on_the_use_stands_on_its_line(tmp_path):
    (tmp_path / "use.yaml").write_text(USE)
    results = sarif(*LLAMA, "--use", "use.yaml")["results"]
    named = next(result for result in results if result["ruleId"] == "planned-name-breaks-prefix")
    assert place(named) == ("use.yaml", 3)


def test_a_finding_on_a_card_stands_on_the_line_of_its_front_matter(tmp_path):
    (tmp_path / "my model").mkdir()
    front = "---\nlanguage: en\nlicense: mit\nbase_model: meta-llama/Llama-3.1-8B\n---\n"
    (tmp_path / "my model" / "README.md").write_text(front)
    results = sarif("license-check", "my model", "--offline", "--distribution", "internal")["results"]
    tag = next(result for result in results if result["ruleId"] == "tag-contradicts-base")
    assert place(tag) == ("my%20model/README.md", 3)


def test_a_finding_of_a_policy_stands_on_its_line(tmp_path):
    (tmp_path / "policy.yaml").write_text("review: [mit]\ndenied: [llama-3.1]\n")
    results = sarif(*LLAMA, "--distribution", "internal", "--policy", "policy.yaml")["results"]
    denied = next(result for result in results if result["ruleId"] == "policy-denies-license")
    assert place(denied) == ("policy.yaml", 2)


def test_junit_counts_what_stands_in_the_way_as_failures():
    answer = run(*LLAMA, "--commercial", "--format", "junit")
    suite = ElementTree.fromstring(answer.stdout)[0]
    cases = suite.findall("testcase")
    failed = [case for case in cases if case.find("failure") is not None]
    assert answer.exit_code == 4
    assert (int(suite.get("tests")), int(suite.get("failures"))) == (len(cases), len(failed))
    assert {case.get("name") for case in failed} == {"verdict", "question distribution"}
    assert [child.tag for child in suite][:1] + [child.tag for child in suite][-2:] == [
        "properties", "system-out", "system-err",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))


def test_junit_has_no_failure_when_the_use_is_allowed():
    answer = run("license-check", "Qwen/Qwen2.5-7B", "--distribution", "internal", "--offline", "--format", "junit")
    assert ElementTree.fromstring(answer.stdout)[0].get("failures") == "0"


def test_junit_stays_xml_whatever_a_card_says(tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "README.md").write_text('---\nlicense: "<&\\u0001>"\n---\n')
    answer = run("license-check", "odd", "--distribution", "internal", "--offline", "--format", "junit")
    ElementTree.fromstring(answer.stdout)


def test_markdown_is_a_ticket_with_a_checklist():
    text = run(*LLAMA, "--distribution", "weights", "--commercial", "--format", "markdown").stdout
    assert text.startswith("## deepseek-ai/DeepSeek-R1-Distill-Llama-8B: allowed, with obligations\n")
    assert "- [ ] `name-prefix`:" in text
    assert "Exactly: `Built with Llama`" in text
    assert "| llama-3.1 | model | meta-llama/Llama-3.1-8B |" in text


def test_explain_lists_rules_that_do_not_bind():
    text = run(*LLAMA, "--distribution", "internal", "--explain").stdout
    assert re.search(r"\[llama-3.1 1.b.iii\] notice-file \(duty\):\s+not-triggered", text)
    explained = json.loads(run(*LLAMA, "--distribution", "internal", "--explain", "--format", "json").stdout)
    assert {"license", "role", "rule", "kind", "clause", "outcome", "why"} == set(explained["considered"][0])


def test_the_policy_is_found_in_the_environment_and_in_the_project(tmp_path, monkeypatch):
    (tmp_path / "policy.yaml").write_text("denied: [llama-3.1]\n")
    monkeypatch.setenv("TK_POLICY", "policy.yaml")
    assert run(*LLAMA, "--distribution", "internal").exit_code == 3
    monkeypatch.delenv("TK_POLICY")
    assert run(*LLAMA, "--distribution", "internal").exit_code == 0
    (tmp_path / "pyproject.toml").write_text('[tool.tk]\npolicy = "policy.yaml"\n')
    assert run(*LLAMA, "--distribution", "internal").exit_code == 3
    (tmp_path / "pyproject.toml").write_text('[tool.tk.policy]\nreview = ["llama-3.1"]\n')
    assert run(*LLAMA, "--distribution", "internal").exit_code == 4
