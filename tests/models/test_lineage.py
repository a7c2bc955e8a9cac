"""A lineage is read from cards, adapter configurations, names and the catalogue, and its parts are compared."""

import json

import pytest

from toolkit.licensing.judge import Manner
from toolkit.licensing.library import library
from toolkit.licensing.use import IntendedUse, OutputsTrain
from toolkit.models.lineage import examine
from toolkit.models.resolve import Access

ACCESS = Access(library(), offline=True)
INTERNAL = IntendedUse(distribution="internal", commercial=True, fields=("general",))
WEIGHTS = INTERNAL._replace(distribution="weights")


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def folder(tmp_path, front="", body="# Model\n", *, name="model", **configs):
    path = tmp_path / name
    path.mkdir(exist_ok=True)
    (path / "README.md").write_text(f"---\n{front}\n---\n{body}" if front else body)
    for config, value in configs.items():
        (path / f"{config}.json").write_text(json.dumps(value))
    return str(path)


def cached(tmp_path, model, front):
    store = tmp_path / "hub" / ("models--" + model.replace("/", "--"))
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text("abc")
    snapshot = store / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text(f"---\n{front}\n---\n")


def found(verdict):
    return {finding.id for finding in verdict.findings}


def effective(verdict):
    return {entry.id for entry in verdict.effective}


def test_an_adapter_is_under_its_own_licence_and_its_base(tmp_path):
    config = {"base_model_name_or_path": "Qwen/Qwen2.5-3B"}
    verdict = examine(folder(tmp_path, "license: mit", adapter_config=config), INTERNAL, ACCESS).verdict
    assert effective(verdict) == {"mit", "qwen-research-2024"}
    assert verdict.level == "needs-separate-license"
    assert {"adapter-license-does-not-cover-base", "tag-omits-base-license", "tag-contradicts-base"} <= found(verdict)
    assert [entry.role for entry in verdict.effective] == ["adapter", "model"]


def test_a_merge_is_under_every_base(tmp_path):
    front = "license: apache-2.0\nbase_model:\n- Qwen/Qwen2.5-7B\n- meta-llama/Llama-3.1-8B\nbase_model_relation: merge"
    verdict = examine(folder(tmp_path, front), WEIGHTS, ACCESS).verdict
    assert effective(verdict) == {"apache-2.0", "llama-3.1"}
    assert "tag-contradicts-base" in found(verdict)


def test_a_tag_that_limits_other_things_than_the_base_contradicts_it(tmp_path):
    front = "license: llama3.1\nbase_model: Qwen/Qwen2.5-3B"
    verdict = examine(folder(tmp_path, front), INTERNAL, ACCESS).verdict
    assert (verdict.level, "tag-contradicts-base" in found(verdict)) == ("needs-separate-license", True)


def test_a_tag_of_the_base_itself_contradicts_nothing(tmp_path):
    front = "license: llama3.1\nbase_model: meta-llama/Llama-3.1-8B"
    assert found(examine(folder(tmp_path, front), INTERNAL, ACCESS).verdict) == set()


def test_a_merge_under_an_output_ban_needs_a_person(tmp_path):
    front = "license: llama2\nbase_model:\n- meta-llama/Llama-2-7b-hf\n- {other}"
    mixed = examine(folder(tmp_path, front.format(other="mistralai/Mistral-7B-v0.1")), INTERNAL, ACCESS).verdict
    kin = examine(folder(tmp_path, front.format(other="meta-llama/Llama-2-7b-chat-hf")), INTERNAL, ACCESS).verdict
    assert (mixed.level, "merge-under-an-output-ban" in found(mixed)) == ("needs-review", True)
    assert kin.level == "allowed-with-obligations"


@pytest.mark.parametrize("spelling", ["Apache 2.0", "apache2.0", "APACHE-2.0"])
def test_a_tag_spelt_otherwise_is_understood(tmp_path, spelling):
    verdict = examine(folder(tmp_path, f"license: {spelling}"), INTERNAL, ACCESS).verdict
    assert (verdict.level, effective(verdict)) == ("allowed", {"apache-2.0"})


def test_a_base_written_as_an_address_of_the_hub_is_followed(tmp_path):
    front = "license: llama3.1\nbase_model: https://huggingface.co/meta-llama/Llama-3.1-8B/tree/main"
    assert effective(examine(folder(tmp_path, front), INTERNAL, ACCESS).verdict) == {"llama-3.1"}


def test_a_chain_is_followed_to_its_root(tmp_path):
    cached(tmp_path, "acme/two", "license: mit\nbase_model: acme/one")
    cached(tmp_path, "acme/one", "license: mit\nbase_model: meta-llama/Llama-3.1-8B")
    verdict = examine(folder(tmp_path, "license: mit\nbase_model: acme/two"), INTERNAL, ACCESS).verdict
    assert [entry.work for entry in verdict.effective][1:] == ["acme/two", "acme/one", "meta-llama/Llama-3.1-8B"]


def test_a_cycle_ends_and_is_told(tmp_path):
    cached(tmp_path, "acme/one", "license: mit\nbase_model: acme/two")
    cached(tmp_path, "acme/two", "license: mit\nbase_model: acme/one")
    verdict = examine("acme/one", INTERNAL, ACCESS).verdict
    assert verdict.level == "needs-review"
    assert any("which descends from it" in finding.text for finding in verdict.findings)


def test_a_missing_base_is_unknown_and_needs_review(tmp_path):
    verdict = examine(folder(tmp_path, "license: mit\nbase_model: acme/gone"), INTERNAL, ACCESS).verdict
    assert (verdict.level, "base-not-found" in found(verdict)) == ("needs-review", True)


def test_lineages_that_branch_again_and_again_end(tmp_path):
    for level in range(12):
        below = "\n".join(f"- acme/{level + 1}{side}" for side in "ab")
        for side in "ab":
            cached(tmp_path, f"acme/{level}{side}", f"license: mit\nbase_model:\n{below}")
    assert examine("acme/0a", INTERNAL, ACCESS).verdict.level == "needs-review"


def test_a_re_upload_without_a_base_is_known_by_its_name(tmp_path):
    path = folder(tmp_path, "license: apache-2.0", name="Qwen2.5-3B-Instruct-AWQ")
    verdict = examine(path, INTERNAL, ACCESS).verdict
    assert effective(verdict) == {"apache-2.0", "qwen-research-2024"}
    assert verdict.level == "needs-separate-license"
    named = next(finding for finding in verdict.findings if finding.id == "lineage-by-name")
    assert "Qwen/Qwen2.5-3B*" in named.text


def test_a_re_upload_whose_card_nobody_read_needs_review():
    verdict = examine("unsloth/Qwen2.5-7B-Instruct-bnb-4bit", INTERNAL, ACCESS).verdict
    assert (verdict.level, effective(verdict)) == ("needs-review", {"apache-2.0"})


def test_a_card_that_names_another_licence_in_its_text_needs_review(tmp_path):
    body = "# Model\n\n## License\nUse follows the Llama 3.1 Community License.\n"
    verdict = examine(folder(tmp_path, "license: apache-2.0", body), INTERNAL, ACCESS).verdict
    named = next(finding for finding in verdict.findings if finding.id == "card-body-names-another-license")
    assert (verdict.level, named.license) == ("needs-review", "llama-3.1")
    assert named.where.endswith("README.md:7")


def test_a_card_whose_text_names_what_binds_anyway_is_consistent(tmp_path):
    body = "# Model\nBuilt on Llama, under the Llama 3.1 Community License.\n"
    front = "license: llama3.1\nbase_model: meta-llama/Llama-3.1-8B"
    assert "card-body-names-another-license" not in found(
        examine(folder(tmp_path, front, body), INTERNAL, ACCESS).verdict
    )


def test_the_placeholder_of_generated_cards_declares_nothing(tmp_path):
    verdict = examine(folder(tmp_path, "licence: license\nlibrary_name: transformers"), INTERNAL, ACCESS).verdict
    assert (verdict.level, found(verdict)) == ("needs-review", {"no-license-declared"})


def test_the_student_of_a_teacher_is_judged_by_its_own_licence():
    use = WEIGHTS._replace(outputs_train=OutputsTrain("Qwen/Qwen2.5-3B", True))
    verdict = examine("Qwen/Qwen2.5-7B", use, ACCESS).verdict
    assert verdict.level == "needs-separate-license"
    assert {(entry.id, entry.role) for entry in verdict.effective} == {
        ("apache-2.0", "outputs"), ("qwen-research-2024", "model"),
    }  # fmt: skip


def test_an_unknown_student_needs_review():
    use = WEIGHTS._replace(outputs_train=OutputsTrain("acme/secret", True))
    assert examine("Qwen/Qwen2.5-7B", use, ACCESS).verdict.level == "needs-review"


def test_every_rule_considered_is_told_when_asked():
    verdict = examine("meta-llama/Llama-3.1-8B", WEIGHTS, ACCESS, Manner(explain=True)).verdict
    terms = library().terms("llama-3.1")
    told = {entry.rule: entry for entry in verdict.considered if entry.license == "llama-3.1"}
    assert set(told) == {rule.id for rule in terms.rules}
    assert told["users-threshold"].outcome == "does-not-bind"
    assert "taken as harmless" in told["users-threshold"].why
    assert told["name-prefix-outputs"].outcome == "not-triggered"
    assert told["notice-file"].outcome == "binds"
