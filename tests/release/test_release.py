"""Making a release: what it contains, and what stops it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.release.runs import ATTESTED, LLAMA_NOTICE, LLAMA_OBLIGATIONS, apache_run, change_record, llama_run, owed
from toolkit.errors import InvalidInput, NotFulfilled, Refused, TkError
from toolkit.release.bundle import ReleaseReport, release


def make(run: Path, target: Path, **changes: object) -> ReleaseReport:
    settings: dict[str, object] = {"name": None, "attestations": {}, "license_files": {}, **changes}
    return release(run, target, **settings)  # type: ignore[arg-type]


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_release_over_an_apache_base_has_every_paper(made_once: Path):
    names = {path.relative_to(made_once / "apache").as_posix() for path in files_of(made_once / "apache")}
    assert names == {
        "LICENSE",
        "LICENSES/apache-2.0.txt",
        "NOTICE",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "aibom.cdx.json",
        "aibom.spdx3.json",
        "card.html",
        "obligations.json",
        "provenance.intoto.json",
        "sbom.spdx.json",
        "tokenizer.json",
    }


def test_the_weights_are_byte_for_byte_those_of_the_run(made_once: Path):
    name = "adapter_model.safetensors"
    assert (made_once / "llama" / name).read_bytes() == (made_once / "llama-run" / "adapter" / name).read_bytes()


def test_the_adapter_names_the_base_that_others_can_load(made_once: Path):
    config = json.loads((made_once / "llama" / "adapter_config.json").read_text())
    before = json.loads((made_once / "llama-run" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "meta-llama/Llama-3.1-8B"
    assert config["revision"] == "0123456789abcdef0123456789abcdef01234567"
    assert {**config, "base_model_name_or_path": 0, "revision": 0} == {
        **before,
        "base_model_name_or_path": 0,
        "revision": 0,
    }


def test_what_a_llama_licence_owes_is_in_the_release(made_once: Path):
    folder = made_once / "llama"
    text = "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n"
    assert (folder / "LICENSE").read_text() == (folder / "LICENSES" / "llama-3.1.txt").read_text() == text
    assert LLAMA_NOTICE in (folder / "NOTICE").read_text().splitlines()
    assert "A notice that came with the base" in (folder / "NOTICE").read_text()
    assert (folder / "USE_POLICY.md").read_text() == "# Acceptable Use Policy\n"
    assert "> **Built with Llama**" in (folder / "README.md").read_text()


def test_obligations_say_how_and_by_whom(made_once: Path):
    entries = {
        entry["id"]: entry
        for entry in json.loads((made_once / "llama" / "obligations.json").read_text())["obligations"]
    }
    assert set(entries) == {entry["id"] for entry in LLAMA_OBLIGATIONS}
    assert entries["aup"]["how"] == "attested"
    assert entries["aup"]["by"] == "J. Doe, 2026-11-23"
    assert entries["license-copy"]["evidence"][0]["file"] == "LICENSES/llama-3.1.txt"
    assert all(entry["status"] == "fulfilled" for entry in entries.values())


def test_pickles_and_the_trainers_card_stay_behind(made_once: Path, tmp_path: Path):
    report = make(made_once / "apache-run", tmp_path / "out")
    assert dict(report.left_out).keys() == {"adapter/training_args.bin", "adapter/README.md"}
    assert not (tmp_path / "out" / "training_args.bin").exists()


def test_an_open_attestation_stops_the_release_and_leaves_nothing(made_once: Path, tmp_path: Path):
    with pytest.raises(NotFulfilled, match=r"aup \(llama-3.1 1.b.iv\)(.|\n)*--attest aup=") as caught:
        make(made_once / "llama-run", tmp_path / "out")
    assert caught.value.exit_code == 5
    assert list(tmp_path.iterdir()) == []


def test_a_missing_licence_text_is_named_with_the_option_that_gives_it(tmp_path: Path):
    run = llama_run(tmp_path / "run", texts={})
    with pytest.raises(NotFulfilled, match=r"license-copy(.|\n)*--license-file llama-3.1=PATH"):
        make(run, tmp_path / "out", attestations=ATTESTED)
    assert not (tmp_path / "out").exists()


def test_a_licence_text_named_by_hand_is_carried(tmp_path: Path):
    run = llama_run(tmp_path / "run", texts={})
    (tmp_path / "text").write_text("the text\n")
    make(run, tmp_path / "out", attestations=ATTESTED, license_files={"llama-3.1": tmp_path / "text"})
    assert (tmp_path / "out" / "LICENSES" / "llama-3.1.txt").read_text() == "the text\n"
    assert (tmp_path / "out" / "LICENSE").read_text() == "the text\n"


def test_a_text_for_a_licence_that_does_not_hold_is_refused(made_once: Path, tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"is no licence of this release; did you mean 'llama-3.1'"):
        make(made_once / "llama-run", tmp_path / "out", license_files={"lama-3.1": tmp_path / "text"})


def test_a_name_without_the_prefix_is_refused_with_one_that_has_it(made_once: Path, tmp_path: Path):
    with pytest.raises(NotFulfilled, match=r'--name "Llama-Acme"'):
        make(made_once / "llama-run", tmp_path / "out", attestations=ATTESTED, name="Acme")


def test_a_run_without_a_planned_name_gets_one_that_keeps_the_prefix(tmp_path: Path):
    run = llama_run(tmp_path / "run", use={"distribution": "weights"})
    assert make(run, tmp_path / "out", attestations=ATTESTED).name == "Llama-support"


def test_every_open_obligation_is_listed(tmp_path: Path):
    run = llama_run(tmp_path / "run", texts={})
    with pytest.raises(NotFulfilled) as caught:
        make(run, tmp_path / "out", name="Acme")
    assert all(f"{name} (" in caught.value.message for name in ("license-copy", "name-prefix", "aup"))


def test_an_attestation_that_nobody_asks_for_is_refused(made_once: Path, tmp_path: Path):
    with pytest.raises(InvalidInput, match="the verdict does not ask for it; did you mean 'aup'"):
        make(made_once / "llama-run", tmp_path / "out", attestations={"aupp": "J. Doe"})


def test_an_obligation_without_a_known_way_needs_a_person_even_if_called_automatic(tmp_path: Path):
    run = llama_run(tmp_path / "run", verdict={"obligations": [owed("register", "2", "automatic")]})
    with pytest.raises(NotFulfilled, match="--attest register="):
        make(run, tmp_path / "out")
    report = make(run, tmp_path / "out", attestations={"llama-3.1:register": "J. Doe"})
    assert report.fulfilments[0].how == "attested"


def test_a_changed_adapter_is_not_released(tmp_path: Path):
    run = apache_run(tmp_path / "run")
    weights = run / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(NotFulfilled, match="changed after the run") as caught:
        make(run, tmp_path / "out")
    assert caught.value.where == str(weights)
    assert not (tmp_path / "out").exists()


def test_a_changed_licence_copy_is_not_released(tmp_path: Path):
    run = apache_run(tmp_path / "run")
    (run / "licenses" / "base" / "LICENSE").write_text("other words")
    with pytest.raises(NotFulfilled, match="licence text was changed"):
        make(run, tmp_path / "out")


def test_an_edited_verdict_is_not_released(tmp_path: Path):
    run = llama_run(tmp_path / "run")
    change_record(run, "verdict.obligations", [])
    with pytest.raises(NotFulfilled, match="not the one that the permit was given for"):
        make(run, tmp_path / "out")


def test_a_prohibited_run_is_refused(tmp_path: Path):
    with pytest.raises(Refused) as caught:
        make(apache_run(tmp_path / "run", verdict={"verdict": "prohibited"}), tmp_path / "out")
    assert caught.value.exit_code == 3


def test_a_review_that_nobody_answered_for_is_refused(tmp_path: Path):
    with pytest.raises(Refused) as caught:
        make(apache_run(tmp_path / "run", verdict={"verdict": "needs-review"}), tmp_path / "out")
    assert caught.value.exit_code == 4


def test_a_target_that_holds_something_is_left_alone(made_once: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TkError, match="not empty"):
        make(made_once / "apache-run", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_two_releases_of_one_run_are_the_same_bytes(made_once: Path, tmp_path: Path):
    make(made_once / "llama-run", tmp_path / "again", attestations=ATTESTED)
    for path in (made_once / "llama").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(made_once / "llama")).read_bytes(), (
                path.name
            )


def test_no_path_of_the_training_machine_is_released(tmp_path: Path):
    base = {"id": "/home/jane/models/secret-base", "revision": None, "source": "folder", "files": {}}
    effective = [
        {
            "id": "mit",
            "spdx": "MIT",
            "role": "model",
            "from": "/home/jane/models/secret-base",
            "evidence": "LICENSE file",
        }
    ]
    run = apache_run(tmp_path / "run", record={"base": base}, verdict={"effective_licenses": effective})
    make(run, tmp_path / "out")
    assert [
        path.name for path in (tmp_path / "out").rglob("*") if path.is_file() and b"/home/jane" in path.read_bytes()
    ] == []


def test_the_text_for_the_code_never_stands_for_the_model(tmp_path: Path):
    texts = {
        "LICENSE-CODE": ("llama-3.1", "license", "for code\n"),
        "LICENSE-MODEL": ("llama-3.1", "license", "for weights\n"),
    }
    make(llama_run(tmp_path / "run", texts=texts), tmp_path / "out", attestations=ATTESTED)
    assert (tmp_path / "out" / "LICENSE").read_text() == "for weights\n"
    assert (tmp_path / "out" / "LICENSES" / "llama-3.1-2.txt").read_text() == "for code\n"


def test_a_text_that_nobody_recognised_is_named_when_a_copy_is_owed(tmp_path: Path):
    run = llama_run(tmp_path / "run", texts={"LICENSE": (None, "license", "words\n")})
    with pytest.raises(NotFulfilled, match=r"not recognised as it \(LICENSES/LICENSE.txt\)"):
        make(run, tmp_path / "out", attestations=ATTESTED)


def test_an_attested_display_is_on_the_card_as_well(tmp_path: Path):
    display = owed("built-with-display", "1.b.i(B)", "attest", "Built with Llama")
    run = llama_run(tmp_path / "run", verdict={"obligations": [display]})
    with pytest.raises(NotFulfilled, match=r"README.md will say 'Built with Llama'"):
        make(run, tmp_path / "out")
    make(run, tmp_path / "out", attestations={"built-with-display": "J. Doe, website footer, 2026-11-23"})
    assert "> **Built with Llama**" in (tmp_path / "out" / "README.md").read_text()
