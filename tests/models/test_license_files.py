"""What lies beside a model is known by its words: another licence, an altered one, one for code, none at all."""

from pathlib import Path

import pytest

from toolkit.licensing.library import library
from toolkit.licensing.use import IntendedUse
from toolkit.models.lineage import examine
from toolkit.models.resolve import Access

APACHE = (Path(__file__).resolve().parents[2] / "LICENSE").read_text()
MIT = (
    "MIT License\n\nCopyright (c) 2024 Acme\n\nPermission is hereby granted, free of charge, to any person obtaining a copy"
    " of these words\nand to no one else.\n" + "This is a text that resembles nothing much, at some length. " * 12
)
INTERNAL = IntendedUse(distribution="internal", commercial=True, fields=("general",))


@pytest.fixture
def check(tmp_path):
    def over(tag, **files):
        folder = tmp_path / "model"
        folder.mkdir()
        for name, text in files.items():
            (folder / name.replace("__", ".").replace("_", "-")).write_text(text)
        (folder / "README.md").write_text(f"---\nlicense: {tag}\n---\n# Model\n")
        return examine(str(folder), INTERNAL, Access(library(), offline=True)).verdict

    return over


def found(verdict):
    return {finding.id for finding in verdict.findings}


def effective(verdict):
    return {entry.id for entry in verdict.effective}


def test_a_file_that_holds_what_the_card_declares_is_consistent(check):
    verdict = check("apache-2.0", LICENSE=APACHE)
    assert (verdict.level, found(verdict)) == ("allowed", set())
    assert "the text of LICENSE" in verdict.effective[0].evidence


def test_a_file_that_holds_another_licence_is_judged_beside_the_tag(check):
    verdict = check("cc-by-nc-4.0", LICENSE=APACHE)
    assert (verdict.level, effective(verdict)) == ("prohibited", {"cc-by-nc-4.0", "apache-2.0"})
    assert "license-file-contradicts-tag" in found(verdict)


def test_an_altered_text_needs_review_and_says_where(check):
    verdict = check("apache-2.0", LICENSE=APACHE.replace("irrevocable", "revocable"))
    altered = next(finding for finding in verdict.findings if finding.id == "license-text-modified")
    assert verdict.level == "needs-review"
    assert "2 altered" in altered.text


def test_a_text_that_nobody_knows_needs_review(check):
    verdict = check("apache-2.0", LICENSE=MIT)
    assert (verdict.level, found(verdict)) == ("needs-review", {"license-text-not-recognised"})


def test_a_file_that_only_points_to_a_licence_names_it(check):
    assert check("apache-2.0", LICENSE="Licensed under Apache-2.0, see the web.\n").level == "allowed"


def test_the_licence_of_code_does_not_govern_the_weights(check):
    verdict = check("cc-by-nc-4.0", LICENSE_CODE=APACHE, LICENSE_MODEL="The weights are under CC BY-NC 4.0.\n")
    assert effective(verdict) == {"cc-by-nc-4.0"}
    assert "license-file-contradicts-tag" not in found(verdict)


def test_a_tag_that_says_other_is_told_by_the_file(check):
    verdict = check("other", LICENSE=APACHE)
    assert (verdict.level, effective(verdict)) == ("allowed", {"apache-2.0"})


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02" * 100])
def test_a_file_that_is_no_text_needs_review_and_is_no_defect(tmp_path, content):
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (tmp_path / "LICENSE").write_bytes(content)
    verdict = examine(str(tmp_path), INTERNAL, Access(library(), offline=True)).verdict
    assert verdict.level == "needs-review"


def test_a_licence_that_a_gate_shows_is_read(tmp_path):
    prompt = "\n".join(f"  {line}" for line in APACHE.splitlines())
    (tmp_path / "README.md").write_text(f"---\nlicense: other\nextra_gated_prompt: |2\n{prompt}\n---\n")
    verdict = examine(str(tmp_path), INTERNAL, Access(library(), offline=True)).verdict
    assert effective(verdict) == {"apache-2.0"}
