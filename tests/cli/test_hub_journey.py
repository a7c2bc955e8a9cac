"""A recipe for a real base, end to end, with the hub standing on loopback and a small model behind the real name."""

import json

import pytest

from tests.hub_stand_in import HubStandIn
from toolkit.models.card import front_matter
from toolkit.models.embedded_bases import folder_with_weights

BASE = "Qwen/Qwen2.5-7B-Instruct"
SHORT = ["train.max_steps=3", "train.max_length=256", "evaluate.generate=4", "evaluate.max_new_tokens=16"]


@pytest.fixture(scope="module")
def journey(tk, tmp_path_factory):
    """`tk finetune recipes/qwen-qlora.yaml`, then card and release: (folder, hub, the training command's outcome)."""
    place = tmp_path_factory.mktemp("hub")
    settings = [part for setting in [*SHORT, f"output={place / 'run'}"] for part in ("--set", setting)]
    with HubStandIn({BASE: folder_with_weights("qwen2")}) as hub:
        env = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(place / "hf"),
            "HF_HUB_OFFLINE": None,
            "HF_HUB_DISABLE_XET": "1",
        }
        done = tk("finetune", "recipes/qwen-qlora.yaml", "--gpu", "cpu", *settings, env=env)
        assert done.returncode == 0, done.stderr
        asked = len(hub.asked)
        chat = tk("chat", place / "run", "--prompt", "Hello", "--max-new-tokens", "4", env=env)
        assert chat.returncode == 0, chat.stderr
        lines = tk("chat", place / "run", "--max-new-tokens", "4", "--format", "json", env=env, input="Hello\nBye\n")
        assert [json.loads(line)["prompt"] for line in lines.stdout.splitlines()] == ["Hello", "Bye"]
        assert len(hub.asked) == asked, "a revision that is pinned and cached is not asked for again"
        commit = hub.commit(BASE)
    released = tk("release", place / "run", "--to", place / "release", "--name", "acme/triage")
    assert released.returncode == 0, released.stderr
    return place, commit


def test_the_record_pins_the_revision_and_every_file_of_the_base(journey):
    place, commit = journey
    record = json.loads((place / "run" / "run.json").read_text())
    assert (record["base"]["id"], record["base"]["revision"], record["base"]["source"]) == (BASE, commit, "hub")
    assert record["base"]["files"].keys() >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert record["adapter"]["type"] == "qlora"
    assert str(place) not in json.dumps(record["base"])


def test_the_adapter_names_its_base_and_not_a_folder_of_this_machine(journey):
    place, commit = journey
    for folder in ("run/adapter", "release"):
        config = json.loads((place / folder / "adapter_config.json").read_text())
        assert (config["base_model_name_or_path"], config["revision"]) == (BASE, commit)


def test_the_card_declares_the_base_and_its_licence(journey):
    place, _ = journey
    text = (place / "release" / "README.md").read_text()
    card = front_matter(text, "README.md").value
    assert card["license"] == "apache-2.0"
    assert card["base_model"] == [BASE]
    assert card["base_model_relation"] == "adapter"
    assert card["library_name"] == "peft"
    assert "licence" not in card


def test_a_release_of_a_hub_base_verifies_and_is_judged_by_its_own_card(journey, tk):
    place, _ = journey
    assert tk("verify", place / "release").returncode == 0
    use = ("--distribution", "internal", "--commercial", "--offline", "--format", "json")
    verdict = json.loads(tk("license-check", place / "release", *use, env={"HF_HOME": str(place / "hf")}).stdout)
    assert verdict["verdict"] == "allowed"
    assert {entry["from"] for entry in verdict["effective_licenses"]} >= {BASE}
