"""A reference resolves to a folder, a cached or fetched snapshot, or the catalogue's answer, and says which."""

import json
import os

import pytest

from tests.hub_stand_in import HubStandIn
from toolkit.errors import TkError
from toolkit.licensing.library import library
from toolkit.models.reference import parse_reference
from toolkit.models.resolve import Access, resolve


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Acme\n")
    (folder / "LICENSE").write_text("terms")
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    (folder / "model.safetensors").write_bytes(b"\0" * 64)
    (folder / "pytorch_model.bin").write_bytes(b"\0" * 64)
    return folder


@pytest.mark.parametrize("text", ["acme/Model-7B@v1.0", "acme/Model-7B"])
def test_a_hub_id_may_name_a_revision(text):
    reference = parse_reference(text)
    assert (reference.kind, reference.name) == ("hub", "acme/Model-7B")
    assert reference.revision == ("v1.0" if "@" in text else None)


@pytest.mark.parametrize("text", ["./nowhere", "/nowhere", "plainword", "a/b/c", "acme/../x", "acme/Model@", ""])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(text):
    with pytest.raises(TkError):
        parse_reference(text)


def test_a_file_is_not_a_model(model):
    with pytest.raises(TkError, match="is a file"):
        parse_reference(str(model / "config.json"))


def test_a_folder_is_its_own_snapshot(model):
    snapshot = resolve(parse_reference(str(model)), Access(library()))
    assert (snapshot.source, snapshot.card.licenses) == ("folder", ("apache-2.0",))
    assert [path.name for path in snapshot.license_files] == ["LICENSE"]


def test_a_known_model_is_answered_from_the_catalogue_when_offline():
    snapshot = resolve(parse_reference("Qwen/Qwen2.5-7B-Instruct"), Access(library(), offline=True))
    assert (snapshot.source, snapshot.folder) == ("catalogue", None)
    assert "offline" in snapshot.note


def test_an_unknown_model_is_an_error_when_offline():
    with pytest.raises(TkError, match="nothing is known of acme/Nothing"):
        resolve(parse_reference("acme/Nothing"), Access(library(), offline=True))


def test_the_catalogue_has_no_weights():
    with pytest.raises(TkError, match="cannot be loaded"):
        resolve(parse_reference("Qwen/Qwen2.5-7B-Instruct"), Access(library(), offline=True, weights=True))


HUB_SCRIPT = """
import json, sys
from toolkit.licensing.library import library
from toolkit.models.reference import parse_reference
from toolkit.models.resolve import Access, resolve
from toolkit.errors import TkError
try:
    s = resolve(parse_reference(sys.argv[1]), Access(library(), weights=sys.argv[2] == "weights"))
    print(json.dumps({"source": s.source, "revision": s.revision, "note": s.note,
                      "files": sorted(p.name for p in s.folder.iterdir()) if s.folder else None}))
except TkError as e:
    print(json.dumps({"error": e.message}))
"""


def through_hub(hub_endpoint, cache, reference, what="papers"):
    """Resolve in a fresh process: the hub client reads its environment when it is imported."""
    import subprocess
    import sys

    env = {**os.environ, "HF_ENDPOINT": hub_endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    env.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run([sys.executable, "-c", HUB_SCRIPT, reference, what], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_hub_id_is_fetched_once_and_then_read_from_the_cache(model, tmp_path):
    with HubStandIn({"acme/model": model}) as hub:
        first = through_hub(hub.endpoint, tmp_path / "hf", "acme/model")
        asked = len(hub.asked)
        second = through_hub(hub.endpoint, tmp_path / "hf", "acme/model")
        assert len(hub.asked) == asked
    assert (first["source"], second["source"]) == ("hub", "cache")
    assert first["revision"] == second["revision"] == hub.commit("acme/model")
    assert first["files"] == ["LICENSE", "README.md", "config.json"]


def test_weights_are_fetched_as_safetensors_only(model, tmp_path):
    with HubStandIn({"acme/model": model}) as hub:
        through_hub(hub.endpoint, tmp_path / "hf", "acme/model")
        whole = through_hub(hub.endpoint, tmp_path / "hf", "acme/model", "weights")
    assert "model.safetensors" in whole["files"]
    assert "pytorch_model.bin" not in whole["files"]


def test_a_model_that_the_hub_does_not_have_is_an_error(tmp_path):
    with HubStandIn({}) as hub:
        assert "no such model on the hub" in through_hub(hub.endpoint, tmp_path / "hf", "acme/absent")["error"]


def test_a_revision_that_does_not_exist_is_an_error(model, tmp_path):
    with HubStandIn({"acme/model": model}) as hub:
        answer = through_hub(hub.endpoint, tmp_path / "hf", "acme/model@v9")
    assert answer["error"] == "acme/model has no revision 'v9'"


def test_a_gated_model_is_answered_from_the_catalogue_and_says_so(model, tmp_path):
    name = "meta-llama/Llama-3.1-8B-Instruct"
    with HubStandIn({name: model}, gated=frozenset({name})) as hub:
        answer = through_hub(hub.endpoint, tmp_path / "hf", name)
    assert answer["source"] == "catalogue"
    assert "gated" in answer["note"]


def test_a_hub_that_cannot_be_reached_is_said_to_be_so(tmp_path):
    answer = through_hub("http://127.0.0.1:9", tmp_path / "hf", "Qwen/Qwen2.5-7B")
    assert answer["source"] == "catalogue"
    assert "could not be reached" in answer["note"]
