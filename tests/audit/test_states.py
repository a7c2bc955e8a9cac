"""Works that look alike and are not: what tells them apart in a verdict tells them apart in a table."""

import json

import pytest

from toolkit.audit.table.judged import judge_table
from toolkit.licensing.judge import PLAINLY, Manner
from toolkit.licensing.library import library
from toolkit.licensing.policy import Policy, Waiver
from toolkit.licensing.use import IntendedUse

USE = IntendedUse(distribution="internal", commercial=True)


@pytest.fixture
def outcomes(tmp_path):
    def judged(*rows, use=USE, manner=PLAINLY):
        path = tmp_path / "hub.jsonl"
        path.write_text("".join(json.dumps({"tags": [], **row}) + "\n" for row in rows))
        table = judge_table(path, use, library(), manner, None, (), lambda _: None)
        return {result.id: result.outcome for result in table.results()}

    return judged


def found(outcome):
    return {noted.id for noted in outcome.findings}


def test_a_waiver_for_one_work_is_none_for_another_under_the_same_licence(outcomes):
    terms = {"license": "other", "license_name": "qwen-research"}
    waiver = Waiver("qwen-research-2024", "use-not-granted", "A", "why", "2099-01-01", "a contract", works=("acme/a",))
    manner = Manner(policy=Policy("policy.yaml", waivers=(waiver,)), today="2027-01-01")
    rows = [{"id": "acme/a", **terms}, {"id": "acme/b", **terms}, {"id": "acme/c", "base_model": "acme/a", **terms}]
    judged = outcomes(*rows, manner=manner)
    assert judged["acme/a"].verdict == "allowed"
    assert judged["acme/b"].verdict == judged["acme/c"].verdict == "needs-separate-license"


def test_what_goes_into_a_base_tells_works_apart(outcomes):
    pictures = {"id": "acme/pictures", "license": "llama3.2", "pipeline_tag": "image-text-to-text"}
    words = {"id": "acme/words", "license": "llama3.2", "pipeline_tag": "text-generation"}
    tuned = [
        {"id": f"acme/{base}-tuned", "license": "mit", "base_model": f"acme/{base}"} for base in ("pictures", "words")
    ]
    judged = outcomes(pictures, words, *tuned, use=USE._replace(seat="DE", territories=("DE",)))
    assert judged["acme/pictures-tuned"].verdict == "prohibited"
    assert judged["acme/words-tuned"].verdict == "allowed-with-obligations"


def test_the_family_of_a_base_tells_merges_apart(outcomes):
    root = {"id": "acme/root", "license": "llama2"}  # a stated base, so that no name has to show one
    names = ("acme/Llama-2-ours", "acme/Llama-2-theirs", "acme/nameless")
    one = [{"id": name, "license": "llama2", "base_model": "acme/root"} for name in names]
    merges = [{"id": f"acme/merge-{number}", "license": "llama2", "base_model": ["acme/Llama-2-ours", other]}
              for number, other in enumerate(["acme/Llama-2-theirs", "acme/nameless"])]  # fmt: skip
    judged = outcomes(root, *one, *merges)
    assert "merge-under-an-output-ban" not in found(judged["acme/merge-0"])
    assert "merge-under-an-output-ban" in found(judged["acme/merge-1"])


def test_a_merge_of_two_works_that_are_alike_is_a_merge_of_two(outcomes):
    bases = [{"id": f"acme/{name}", "license": "llama2"} for name in "abc"]
    alike = {"id": "acme/merge", "license": "llama2", "base_model": ["acme/a", "acme/b", "acme/c"]}
    single = {"id": "acme/tuned", "license": "llama2", "base_model": "acme/a"}
    judged = outcomes(*bases, alike, single)
    assert "merge-under-an-output-ban" in found(judged["acme/merge"])
    assert "merge-under-an-output-ban" not in found(judged["acme/tuned"])


def test_rows_that_are_alike_share_one_outcome(outcomes):
    rows = [{"id": f"acme/{number}", "license": "mit", "base_model": "Qwen/Qwen2.5-3B"} for number in range(50)]
    judged = outcomes(*rows)
    assert len({id(outcome) for outcome in judged.values()}) == 1
