"""`tk plan --check-data` and `--show-sample`: what a person learns of the data before a GPU is touched, hub data sets
on loopback included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_stand_in import HubStandIn

ROOT = Path(__file__).resolve().parent.parent.parent
CARD = """---
license: cc-by-4.0
configs:
- config_name: en
  data_files: [{split: train, path: en/train.jsonl}, {split: test, path: en/test.jsonl}]
- config_name: de
  data_files: [{split: train, path: de/train.jsonl}, {split: test, path: de/test.jsonl}]
---
"""


def rows(count: int, word: str = "where is parcel") -> str:
    pairs = ({"question": f"{word} {number}", "reply": "on its way"} for number in range(count))
    return "".join(json.dumps(pair) + "\n" for pair in pairs)


def recipe(folder: Path, data: str, base: str = "embedded:qwen2", more: str = "") -> Path:
    path = folder / "r.yaml"
    use = "use: {purpose: a test, distribution: internal, commercial: true}"
    path.write_text(f"base: {base}\ndata: {data}\n{use}\noutput: {folder / 'run'}\n{more}")
    return path


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of the hub with two configurations of two splits each."""
    folder = tmp_path_factory.mktemp("chats")
    (folder / "README.md").write_text(CARD)
    for config in ("en", "de"):
        (folder / config).mkdir()
        (folder / config / "train.jsonl").write_text(rows(40, f"{config} train"))
        (folder / config / "test.jsonl").write_text(rows(5, f"{config} test"))
    return folder


COLUMNS = "columns: {prompt: question, completion: reply}"


def test_a_hub_data_set_is_read_by_configuration_and_split_and_pinned(tk, tmp_path, chats):
    with HubStandIn({}, datasets={"acme/chats": chats}) as hub:
        env = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": None,
            "HF_HUB_DISABLE_XET": "1",
        }
        data = f"{{train: acme/chats, config: de, {COLUMNS}, eval: {{path: acme/chats, config: de, split: test}}}}"
        done = tk("plan", recipe(tmp_path, data), "--gpu", "cpu", "--check-data", "--format", "json", env=env)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["train"]["rows"], found["eval"]["rows"]) == (40, 5)
        (source,) = found["sources"]
        assert (source["config"], source["revision"]) == ("de", hub.commit("datasets/acme/chats"))
        assert found["template"]["stops"]["end"] == "<|im_end|>"

        asked_before = len(hub.asked)
        data = f"{{train: acme/chats, config: de, {COLUMNS}}}"
        offline = tk("plan", recipe(tmp_path, data), "--gpu", "cpu", "--show-sample", "--offline", env=env)
        assert "on its way<|im_end|>]]" in offline.stdout, offline.stderr
        assert len(hub.asked) == asked_before, "what was read before is read offline from the cache"

        data = f"{{train: acme/chats, config: en, {COLUMNS}, streaming: true}}"
        path = recipe(tmp_path, data, "Qwen/Qwen2.5-7B-Instruct", "train: {max_steps: 2}\n")
        streamed = tk("plan", path, "--gpu", "cpu", "--check-data", env=env)
        assert "36 rows, prompt-completion" in streamed.stdout, streamed.stderr


def test_a_report_tells_duplicates_leaks_and_unused_columns(tk, tmp_path):
    lines = rows(20).splitlines()
    (tmp_path / "a.jsonl").write_text(
        "\n".join([*lines, lines[0], lines[1].upper().replace("QUESTION", "question").replace("REPLY", "reply")]) + "\n"
    )
    (tmp_path / "b.jsonl").write_text('{"question": "what", "reply": "that", "id": 1}\n')
    data = (
        f"{{train: [{{path: {tmp_path}/a.jsonl, weight: 1, license: MIT}}, {{path: {tmp_path}/b.jsonl, weight: 1}}], "
        f"license: CC-BY-4.0, {COLUMNS}}}"
    )
    path = recipe(tmp_path, data, "Qwen/Qwen2.5-7B-Instruct", "evaluate: {fraction: 0}\n")
    done = tk("plan", path, "--gpu", "cpu", "--offline", "--check-data", env={"HF_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "44 examples an epoch" in text
    assert "1 exact, 1 more but for case and punctuation" in text
    assert "weight 1, 50.0% of the examples, licence MIT" in text
    assert "each row of" in text
    assert "seen 22.0 times an epoch" in text
    assert "nothing was learnt from: id" in text


def test_a_sample_shows_labels_as_they_are_trained(tk, tmp_path):
    (tmp_path / "a.jsonl").write_text(rows(20))
    data = f"{{train: {tmp_path}/a.jsonl, license: own, {COLUMNS}}}"
    path = recipe(tmp_path, data)
    found = json.loads(tk("plan", path, "--gpu", "cpu", "--show-sample", "2", "--format", "json").stdout)
    assert len(found["rows"]) == 2
    row = found["rows"][0]
    assert "a.jsonl:" in row["where"]
    assert "".join(row["tokens"]) == row["text"]
    counted = [token for token, label in zip(row["tokens"], row["labels"], strict=True) if label != -100]
    assert "".join(counted) == "on its way<|im_end|>"
    assert all(label in (-100, token) for label, token in zip(row["labels"], row["input_ids"], strict=True))


def test_documents_have_no_template_to_tell_of(tk):
    ended = tk("plan", "recipes/embedded-pretrain.yaml", "--gpu", "cpu", "--check-data")
    assert (ended.returncode, "none: documents as they are" in ended.stdout) == (0, True), ended.stderr
    ended = tk("plan", "recipes/embedded-pretrain.yaml", "--gpu", "cpu", "--show-sample")
    assert (ended.returncode, "[[" in ended.stdout) == (0, True), ended.stderr


def test_a_check_without_the_tokenizer_at_hand_imports_no_torch(tmp_path):
    (tmp_path / "a.jsonl").write_text(rows(20))
    path = recipe(tmp_path, f"{{train: {tmp_path}/a.jsonl, license: own, {COLUMNS}}}", "Qwen/Qwen2.5-7B-Instruct")
    script = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print({'torch', 'transformers', 'tokenizers', 'datasets'} & set(sys.modules), file=sys.stderr))\n"
        f"sys.argv = ['tk', 'plan', {str(path)!r}, '--gpu', '24GiB', '--offline', '--check-data']\n"
        "runpy.run_module('toolkit', run_name='__main__')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "set()"
    assert "tokens were not counted" in done.stdout
