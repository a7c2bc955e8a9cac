"""The licence that a release passes on is the one that is owed, as its authors wrote it."""

from pathlib import Path

import pytest

from tests.release.runs import make_run, owed
from toolkit.errors import InvalidInput, NotFulfilled
from toolkit.release.bundle import release
from toolkit.release.texts import text_problem
from toolkit.release.verify import verify

APACHE = (Path(__file__).resolve().parents[2] / "LICENSE").read_bytes()
ALTERED = APACHE.replace(b"irrevocable", b"revocable", 1)
MIT = (
    "MIT License\n\nCopyright (c) 2025 Acme\n\nThis is a text about a licence and none itself; "
    + "it goes on for a while, so that nobody takes it for a word or two. " * 8
).encode()


@pytest.fixture
def run(tmp_path):
    """A run over an Apache-2.0 base whose copy of the licence is owed to recipients, with a text of one's choice."""

    def over(content):
        effective = [
            {"id": "apache-2.0", "spdx": "Apache-2.0", "role": "model", "from": "acme/base", "evidence": "LICENSE"}
        ]
        copy = owed("license-copy", "4(a)", "automatic", license="apache-2.0")
        use = {"purpose": "support", "commercial": True, "distribution": "weights"}
        texts = {"LICENSE": ("apache-2.0", "license", content.decode())}
        return make_run(tmp_path / "run", "acme/base", effective, [copy], texts, use=use)

    return over


def make(run, target, **more):
    release(run, target, **{"name": None, "attestations": {}, "license_files": {}, **more})
    return target


def test_a_text_is_told_from_another_and_from_an_altered_one():
    assert text_problem("apache-2.0", APACHE) is None
    assert text_problem("mit", APACHE) == "is apache-2.0, not mit"
    assert text_problem("apache-2.0", ALTERED).startswith("is apache-2.0 with changes (")
    assert text_problem("apache-2.0", MIT) == "is not the text of apache-2.0"
    assert text_problem("no-such-licence", APACHE) is None


def test_a_release_passes_on_the_right_text(run, tmp_path):
    folder = make(run(APACHE), tmp_path / "out")
    assert (folder / "LICENSES" / "apache-2.0.txt").read_bytes() == APACHE
    assert verify(folder).ok


@pytest.mark.parametrize("content", [ALTERED, MIT])
def test_a_release_does_not_pass_an_altered_or_another_text_on(run, tmp_path, content):
    with pytest.raises(NotFulfilled, match=r"--license-file apache-2\.0=PATH"):
        make(run(content), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_right_text_can_be_named_instead(run, tmp_path):
    (tmp_path / "right").write_bytes(APACHE)
    folder = make(run(ALTERED), tmp_path / "out", license_files={"apache-2.0": tmp_path / "right"})
    assert (folder / "LICENSES" / "apache-2.0.txt").read_bytes() == APACHE
    assert verify(folder).ok


def test_a_wrong_text_cannot_be_named(run, tmp_path):
    (tmp_path / "wrong").write_bytes(ALTERED)
    with pytest.raises(InvalidInput, match=r"is apache-2\.0 with changes"):
        make(run(MIT), tmp_path / "out", license_files={"apache-2.0": tmp_path / "wrong"})


def test_a_notice_with_a_blank_names_the_data_set(tmp_path):
    notice = "Contains information from DATABASE NAME which is made available under the ODC Attribution License."
    effective = [
        {"id": "apache-2.0", "spdx": "Apache-2.0", "role": "model", "from": "acme/base", "evidence": "LICENSE"},
        {"id": "odc-by-1.0", "spdx": "ODC-By-1.0", "role": "dataset", "from": "allenai/tulu", "evidence": "the use"},
    ]
    owing = [owed("odc-notice", "4.3", "automatic", notice, license="odc-by-1.0")]
    use = {"purpose": "support", "commercial": True, "distribution": "weights"}
    run = make_run(tmp_path / "run", "acme/base", effective, owing, {}, use=use)
    folder = make(run, tmp_path / "out")
    assert notice.replace("DATABASE NAME", "allenai/tulu") in (folder / "NOTICE").read_text()
    assert verify(folder).ok
