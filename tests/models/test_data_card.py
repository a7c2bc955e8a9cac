"""Data brings its own terms: those stated, those of its card, those of the table, and those of whoever wrote it."""

import pytest

from toolkit.files.shipped import shipped
from toolkit.licensing.judge import judge
from toolkit.licensing.library import library
from toolkit.licensing.lineage import Work
from toolkit.licensing.use import DatasetUse, IntendedUse
from toolkit.licensing.verdict import Target
from toolkit.models.data_card import TABLE, known_data, read_data

INTERNAL = IntendedUse(distribution="internal", commercial=True, fields=("general",))


def verdict(*data, use=INTERNAL, base="acme/Base-7B"):
    works = [Work(base, "model", "folder", declared=("apache-2.0",), where="README.md:2")]
    for dataset in data:
        works += read_data(dataset, use.commercial, library())
    return judge(Target("acme/x", None, "folder"), tuple(works), use, library())


def found(answer):
    return {finding.id for finding in answer.findings}


def licenses(answer):
    return {(entry.id, entry.role) for entry in answer.effective}


def test_every_entry_of_the_table_names_licences_that_are_here():
    entries = known_data_entries()
    assert len(entries) > 40
    for entry in entries:
        for name in (*entry.licenses, *(maker.terms for maker in entry.made_by if maker.terms)):
            assert name in library().ids, f"{entry.match}: {name}"


def known_data_entries():
    from toolkit.files.schema import read_document
    from toolkit.files.strict_yaml import load_file
    from toolkit.models.data_card import _SHAPE

    return read_document(load_file(shipped("licenses") / TABLE), _SHAPE, "datasets")["datasets"]


def test_a_known_data_set_brings_its_licence_when_none_is_stated():
    answer = verdict(DatasetUse("databricks/databricks-dolly-15k"))
    assert ("cc-by-sa-3.0", "dataset") in licenses(answer)


def test_share_alike_data_is_unsettled_once_weights_leave():
    dolly = DatasetUse("databricks/databricks-dolly-15k", "cc-by-sa-3.0")
    answer = verdict(dolly, use=INTERNAL._replace(distribution="weights"))
    assert (answer.level, "sharealike-effect-on-weights-unsettled" in found(answer)) == ("needs-review", True)
    assert verdict(dolly).level != "prohibited"


def test_non_commercial_data_prohibits_commercial_training():
    assert verdict(DatasetUse("HuggingFaceH4/no_robots")).level == "prohibited"
    assert verdict(DatasetUse("HuggingFaceH4/no_robots"), use=INTERNAL._replace(commercial=False)).exit_code == 0


def test_a_permissive_tag_does_not_lift_the_terms_of_the_service_that_wrote_it():
    answer = verdict(DatasetUse("meta-math/MetaMathQA", "mit"))
    assert (answer.level, {"openai-output", "dataset-is-model-output"} <= found(answer)) == ("needs-review", True)


def test_a_mixture_with_a_non_commercial_part_needs_review_for_commerce_only():
    tulu = DatasetUse("allenai/tulu-3-sft-mixture", "odc-by")
    assert "dataset-has-nc-subset" in found(verdict(tulu))
    assert verdict(tulu).level == "needs-review"
    part = next(item for item in verdict(tulu, use=INTERNAL._replace(commercial=False)).findings
                if item.id == "dataset-has-nc-subset")  # fmt: skip
    assert part.level is None


def test_a_stated_licence_and_the_known_one_are_both_judged():
    answer = verdict(DatasetUse("tatsu-lab/alpaca", "apache-2.0"))
    assert {("apache-2.0", "dataset"), ("cc-by-nc-4.0", "dataset")} <= licenses(answer)
    assert answer.level == "prohibited"


def test_outputs_of_a_model_that_bans_training_others_prohibit_it():
    data = DatasetUse("Magpie-Align/Magpie-Pro-300K-Filtered")
    assert verdict(data, base="acme/Base-7B").level == "prohibited"
    assert verdict(data, base="acme/Llama-3-8B-ft").level == "allowed-with-obligations"


def test_data_that_nobody_knows_needs_review():
    assert verdict(DatasetUse("acme/unknown")).level == "needs-review"


def test_the_card_of_a_data_folder_is_read(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\nlicense: odc-by\n---\nDifferent licenses apply to subsets. Some portions of this dataset are non-commercial.\n"
    )
    answer = verdict(DatasetUse(str(tmp_path)))
    assert ("odc-by-1.0", "dataset") in licenses(answer)
    assert "dataset-has-nc-subset" in found(answer)


def test_data_of_others_is_not_ones_own_by_saying_so():
    answer = verdict(DatasetUse("HuggingFaceH4/no_robots", "own"))
    assert (answer.level, "own-data-is-known" in found(answer)) == ("needs-review", True)


@pytest.mark.parametrize(
    "name",
    [
        "https://huggingface.co/datasets/tatsu-lab/alpaca",
        "datasets/tatsu-lab/alpaca",
        "tatsu-lab/alpaca@main",
        "alpaca",
    ],
)
def test_a_data_set_is_known_however_its_id_was_copied(name):
    assert verdict(DatasetUse(name, "mit")).level == "prohibited"


def test_the_card_of_a_data_folder_tells_what_wrote_it_and_what_it_is_under(tmp_path):
    body = "# Rows\n\nThe answers were generated with GPT-4.\n\nThe data is licensed under CC-BY-NC-4.0.\n"
    (tmp_path / "README.md").write_text(f"---\nlicense: cc-by-4.0\n---\n{body}")
    answer = verdict(DatasetUse(str(tmp_path)))
    assert {"openai-output", "card-body-names-another-license"} <= found(answer)


def test_data_under_the_licence_of_a_model_was_written_by_one():
    assert "dataset-is-model-output" in found(verdict(DatasetUse("acme/rows", "llama3.1")))
    assert "dataset-is-model-output" not in found(verdict(DatasetUse("acme/rows", "apache-2.0")))


@pytest.mark.parametrize("name", ["rows.jsonl", "train", "data/rows.jsonl", "./alpaca.jsonl"])
def test_a_file_of_ones_own_is_no_known_data_set(name):
    assert known_data(name, library()) is None


@pytest.mark.parametrize("name", ["Databricks/databricks-dolly-15k", "tatsu-lab/alpaca"])
def test_data_sets_are_known_in_any_case(name):
    assert known_data(name.upper(), library()) == known_data(name, library())
