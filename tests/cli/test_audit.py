"""`tk audit` as a person, and a registry's continuous integration, run it."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from toolkit.cli.main import tk

ROOT = Path(__file__).resolve().parent.parent.parent
USE = ("--distribution", "internal", "--commercial", "--offline")
CARDS = {
    "acme/free": "license: apache-2.0",
    "acme/silent": "language: en",
    "acme/study": "license: mit\nbase_model: Qwen/Qwen2.5-3B",
    "acme/tuned": "license: mit\nbase_model: acme/free",
}
VERDICTS = {"acme/free": "allowed", "acme/silent": "needs-review", "acme/study": "needs-separate-license",
            "acme/tuned": "allowed"}  # fmt: skip


@pytest.fixture(autouse=True)
def registry(tmp_path, monkeypatch):
    """A registry of four models, as folders and as a table, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    rows = []
    for name, front in CARDS.items():
        folder = tmp_path / "registry" / name
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(f"---\n{front}\n---\n")
        said = dict(line.split(": ") for line in front.splitlines())
        rows.append({"id": name, "license": said.get("license"), "base_model": said.get("base_model")})
    pl.DataFrame(rows).write_csv("hub.csv")
    pl.DataFrame(rows).write_parquet("hub.parquet")


def audit(*arguments):
    return CliRunner().invoke(tk, ["audit", *map(str, arguments), *USE])


def models_in(format_, path):
    if format_ == "csv":
        return {row["id"]: row for row in csv.DictReader(io.StringIO(path.read_text()))}
    if format_ == "parquet":
        return {row["id"]: row for row in pl.read_parquet(path).to_dicts()}
    if format_ == "json":
        return {row["id"]: row for row in json.loads(path.read_text())["models"]}
    return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv", "parquet"])
@pytest.mark.parametrize("source", ["registry", "hub.csv", "hub.parquet"])
def test_every_format_says_the_same_of_every_source(tmp_path, source, format_):
    done = audit(source, "--format", format_, "--to", "out", "--jobs", 1)
    assert done.exit_code == 3, done.stderr
    models = models_in(format_, tmp_path / "out")
    assert {name: model["verdict"] for name, model in models.items()} == VERDICTS
    study = models["acme/study"]
    licenses, failing = study["effective_licenses"], study["failing"]
    if format_ == "csv":
        assert (licenses, failing) == ("mit qwen-research-2024", "needs-separate-license")
        assert "tag-contradicts-base:qwen-research-2024" in study["findings"].split()
    else:
        assert licenses == [{"id": "mit", "role": "model"}, {"id": "qwen-research-2024", "role": "model"}]
        assert failing == study["new"] == ["needs-separate-license"]
        assert study["roots"] == ["Qwen/Qwen2.5-3B"]


def test_the_summary_counts_verdicts_licences_findings_and_lineages():
    answer = json.loads(audit("registry", "--format", "json").stdout)
    assert answer["schema"] == "tk/audit/1"
    answer = answer["summary"]
    assert answer["models"] == 4
    assert answer["verdicts"] == {"allowed": 2, "allowed-with-obligations": 0, "needs-review": 1,
                                  "needs-separate-license": 1, "prohibited": 0}  # fmt: skip
    assert answer["licenses"] == {"apache-2.0": 2, "mit": 2, "qwen-research-2024": 1, "unknown": 1}
    assert {"id": "no-license-declared", "severity": "error", "models": 1} in answer["findings"]
    assert {"root": "acme/free", "models": 1, "verdicts": {"allowed": 1}} in answer["lineages"]
    assert (answer["failing"], answer["new"], answer["gone"]) == (2, 2, [])


def test_text_names_what_fails_and_where():
    done = audit("registry")
    assert "registry: a folder of models" in done.stderr
    assert "2 models of 4 fail." in done.stdout
    assert done.stdout.index("needs a separate licence: acme/study") < done.stdout.index("needs review: acme/silent")
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [("none", 0), ("prohibited", 0), ("needs-review", 4), ("needs-review,needs-separate-license", 3),
     ("no-license-declared", 4), ("tag-contradicts-base", 3), ("error", 3)],
)  # fmt: skip
def test_what_fails_decides_the_exit_code(fail_on, code):
    assert audit("hub.csv", "--fail-on", fail_on).exit_code == code


@pytest.mark.parametrize("source", ["registry", "hub.parquet"])
def test_a_baseline_leaves_only_what_is_new(tmp_path, source):
    assert audit(source, "--write-baseline", "accepted.json").exit_code == 0
    again = audit(source, "--baseline", "accepted.json", "--format", "parquet", "--to", "out")
    assert again.exit_code == 0
    assert "2 models of 4 fail: 0 with something new, 2 as accepted." in again.stderr
    study = models_in("parquet", tmp_path / "out")["acme/study"]
    assert (study["failing"], study["new"]) == (["needs-separate-license"], [])
    entries = json.loads((tmp_path / "accepted.json").read_text())
    entries["accepted"] = [entry for entry in entries["accepted"] if entry["model"] != "acme/silent"]
    entries["accepted"].append({"model": "acme/gone", "what": "prohibited", "license": None, "digest": "0"})
    (tmp_path / "accepted.json").write_text(json.dumps(entries))
    third = audit(source, "--baseline", "accepted.json", "--format", "json")
    answer = json.loads(third.stdout)
    assert third.exit_code == 4
    assert {model["id"]: model["new"] for model in answer["models"] if model["failing"]} == {
        "acme/silent": ["needs-review"], "acme/study": [],
    }  # fmt: skip
    assert answer["summary"]["gone"] == [{"model": "acme/gone", "what": "prohibited", "license": None}]


def test_sarif_tells_new_from_accepted_and_stands_on_lines(tmp_path):
    audit("registry", "--write-baseline", "accepted.json", "--fail-on", "needs-review")
    done = audit("registry", "--baseline", "accepted.json", "--format", "sarif")
    run = json.loads(done.stdout)["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    states = {}
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert (tmp_path / place["artifactLocation"]["uri"]).is_file()
        assert place["region"]["startLine"] >= 1
        states[result["message"]["text"].partition(":")[0], result["ruleId"]] = result.get("baselineState")
    assert states["acme/silent", "verdict/needs-review"] == "unchanged"
    assert states["acme/study", "verdict/needs-separate-license"] == "new"
    assert states["acme/study", "tag-contradicts-base"] is None
    assert run["properties"]["models"] == 4


def test_html_is_one_page_that_asks_for_nothing_and_shows_what_a_card_says_as_text(tmp_path):
    folder = tmp_path / "registry" / "acme" / "x<script>"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlanguage: en\n---\n")
    audit("registry", "--format", "html", "--to", "audit.html")
    page = (tmp_path / "audit.html").read_text()
    assert "<script" not in page
    assert "x&lt;script&gt;" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "Licence audit of 5 models" in page


@pytest.mark.parametrize("format_", ["html", "parquet"])
def test_a_format_that_is_a_file_needs_one(format_):
    done = audit("registry", "--format", format_)
    assert done.exit_code == 2
    assert "--to" in done.stderr


@pytest.mark.parametrize("format_", ["json", "sarif", "html", "parquet"])
def test_a_report_that_fails_leaves_no_file(tmp_path, format_):
    (tmp_path / "ids.txt").write_text("acme/a\nnot an id\n")
    done = audit("ids.txt", "--format", format_, "--to", "out", "--jobs", 1)
    assert done.exit_code == 1
    assert "ids.txt:2" in done.stderr
    assert not [path.name for path in tmp_path.iterdir() if "out" in path.name]


def test_several_paths_go_into_one_report_and_ids_tell_them_apart():
    answer = json.loads(audit("registry", "hub.csv", "--format", "json", "--jobs", 1).stdout)
    assert [model["id"] for model in answer["models"]] == [*(f"registry/{name}" for name in CARDS), *CARDS]


def test_the_policy_of_an_organisation_holds_for_every_model(tmp_path):
    (tmp_path / "policy.yaml").write_text("denied: [apache-2.0]\n")
    answer = json.loads(audit("hub.parquet", "--policy", "policy.yaml", "--format", "json").stdout)
    assert {model["id"] for model in answer["models"] if model["verdict"] == "prohibited"} == {
        "acme/free",
        "acme/tuned",
    }


def test_without_the_engine_a_table_is_answered_and_folders_are_audited(tmp_path):
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere" / "polars.py").write_text("raise ImportError('not here')\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path / 'nowhere'}:{ROOT}"}
    run = [sys.executable, "-m", "toolkit", "audit", *USE, "--jobs", "1"]
    table = subprocess.run([*run, "hub.csv"], env=env, capture_output=True, text=True)
    assert table.returncode == 1
    assert 'pip install "tk-toolkit[audit]"' in table.stderr
    assert subprocess.run([*run, "registry"], env=env, capture_output=True, text=True).returncode == 3


def test_ctrl_c_ends_with_130_and_leaves_whole_lines(tmp_path):
    for number in range(3000):
        folder = tmp_path / "many" / f"m{number:04}"
        folder.mkdir(parents=True)
        (folder / "README.md").write_text("---\nlicense: mit\n---\n" + "A line of a card.\n" * 200)
    command = [
        sys.executable,
        "-m",
        "toolkit",
        "audit",
        "many",
        *USE,
        "--jobs",
        "2",
        "--format",
        "jsonl",
        "--to",
        "out",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (tmp_path / "out").exists() or not (tmp_path / "out").stat().st_size:
        assert running.poll() is None
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    _, words = running.communicate(timeout=20)
    assert running.returncode == 130, words
    assert "Interrupted after" in words
    assert "Traceback" not in words
    lines = (tmp_path / "out").read_text().splitlines()
    assert 0 < len(lines) < 3000
    assert [json.loads(line)["id"] for line in lines] == [f"m{number:04}" for number in range(len(lines))]
