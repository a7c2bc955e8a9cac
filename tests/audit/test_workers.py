"""Models read from their own files: in order, several at a time, and one that cannot be read does not end the rest."""

from pathlib import Path

import pytest

from toolkit.audit.sources import Found, models_of, source_of
from toolkit.audit.workers import Task, results
from toolkit.licensing.judge import PLAINLY
from toolkit.licensing.library import library
from toolkit.licensing.use import IntendedUse
from toolkit.models.lineage import examine
from toolkit.models.resolve import Access

USE = IntendedUse(distribution="weights", commercial=True)


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def audited(root: Path, jobs: int = 1):
    task = Task(USE, PLAINLY, True, (root,))
    return list(results(models_of(source_of(root), prefix=False), task, jobs))


def test_a_model_comes_out_as_a_check_of_its_folder_does(tmp_path, model):
    model("acme/a", "license: mit\nbase_model: Qwen/Qwen2.5-3B", config={})
    model("acme/b", adapter_config={"base_model_name_or_path": "meta-llama/Llama-3.1-8B"})
    for result in audited(tmp_path / "registry"):
        verdict = examine(result.where, USE, Access(library(), offline=True)).verdict
        assert result.outcome.verdict == verdict.level
        assert [noted.id for noted in result.outcome.findings] == [entry.id for entry in verdict.findings]
        assert [words.text for words in result.words] == [entry.text for entry in verdict.findings]


@pytest.mark.parametrize("layout", ["acme/base", "acme--base", "models--acme--base/snapshots/abc"])
def test_a_base_is_read_from_the_registry_in_whatever_layout(tmp_path, model, layout):
    model("zeta/tuned", "license: mit\nbase_model: acme/base", config={})
    model(layout, "license: mit\nbase_model: meta-llama/Llama-3.1-8B", config={})
    if layout.startswith("models--"):
        (model("models--acme--base/refs") / "main").write_text("abc")
    task = Task(USE, PLAINLY, True, (tmp_path / "registry",))
    tuned = Found("zeta/tuned", "zeta/tuned", tmp_path / "registry" / "zeta" / "tuned")
    (result,) = results([tuned], task, 1)
    assert result.outcome.license_ids() == ("mit", "llama-3.1")
    assert result.roots == ("meta-llama/Llama-3.1-8B",)


def test_a_model_that_cannot_be_read_needs_review_and_names_the_line(tmp_path, model):
    model("acme/a", "license: mit")
    folder = model("acme/bad", "license: [")
    model("acme/c", "license: mit")
    first, bad, last = audited(tmp_path / "registry")
    assert (first.outcome.verdict, last.outcome.verdict) == ("allowed-with-obligations", "allowed-with-obligations")
    assert bad.outcome.verdict == "needs-review"
    assert [noted.id for noted in bad.outcome.findings] == ["model-not-readable"]
    assert bad.words[0].where == f"{folder}/README.md:3"


def test_processes_give_the_same_results_in_the_same_order(tmp_path, model):
    for number in range(40):
        model(f"acme/m{number:02}", "license: mit" if number % 2 else "license: llama3.1")
    assert audited(tmp_path / "registry", jobs=2) == audited(tmp_path / "registry", jobs=1)


def test_only_a_few_models_are_taken_ahead_of_what_is_read(tmp_path):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Found(f"acme/m{taken}", str(tmp_path), tmp_path)

    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    going = results(endless(), Task(USE, PLAINLY, True, ()), 2)
    assert next(going).id == "acme/m1"
    going.close()
    assert taken < 500
