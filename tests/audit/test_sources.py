"""What a PATH is taken for, and the models that it holds."""

import pytest

from toolkit.audit.sources import models_of, source_of
from toolkit.errors import TkError


def found(path):
    return [entry.id for entry in models_of(source_of(path), prefix=False)]


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_models_lie_at_any_depth_and_nothing_below_a_model_is_one(tmp_path, model):
    model("acme/a", config={})
    model("acme/a/onnx", config={})
    model("acme/team/b", adapter_config={})
    model("c", "license: mit")
    assert found(tmp_path / "registry") == ["acme/a", "acme/team/b", "c"]


def test_a_readme_alone_is_a_model_only_where_no_model_lies_below(tmp_path, model):
    model(".", "title: our registry")
    model("acme/a", "license: mit")
    assert found(tmp_path / "registry") == ["acme/a"]
    assert found(tmp_path / "registry" / "acme" / "a") == ["a"]


def test_a_folder_that_leads_back_is_not_followed(tmp_path, model):
    model("acme/a", config={})
    (tmp_path / "registry" / "again").symlink_to(tmp_path / "registry")
    assert found(tmp_path / "registry") == ["acme/a"]


def test_a_hub_cache_is_told_by_its_layout(tmp_path, model):
    model("models--acme--x/snapshots/abc", "license: mit")
    model("models--acme--x/snapshots/def", "license: mit")
    model("models--acme--x/snapshots/empty")
    source = source_of(tmp_path / "registry")
    assert source.kind == "cache"
    assert [(entry.id, entry.revision) for entry in models_of(source, prefix=True)] == [
        ("acme/x", "abc"), ("acme/x", "def"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("ids.txt", "Qwen/Qwen2.5-7B\n", "ids"),
        ("ids", "Qwen/Qwen2.5-7B\n", "ids"),
        ("ids.csv", "downloads,modelId\n1,Qwen/Qwen2.5-7B\n", "ids"),
        ("ids.jsonl", '{"modelId": "Qwen/Qwen2.5-7B"}\n', "ids"),
        ("hub.csv", "id,license\nacme/a,mit\n", "table"),
        ("hub.jsonl", '{"id": "acme/a"}\n{"id": "acme/b", "tags": []}\n', "table"),
        ("hub.ndjson", '{"id": "acme/a", "cardData": {}}\n', "table"),
    ],
)
def test_a_file_is_a_list_unless_it_says_something_of_its_models(tmp_path, name, text, kind):
    assert source_of(written(tmp_path, name, text)).kind == kind


def test_a_list_may_have_comments_and_revisions(tmp_path):
    path = written(tmp_path, "ids.txt", "# ours\n\nQwen/Qwen2.5-7B@main  # pinned\nacme/b\n")
    (first, second) = models_of(source_of(path), prefix=False)
    assert (first.id, first.reference.revision, first.where) == ("Qwen/Qwen2.5-7B", "main", f"{path}:3")
    assert second.where == f"{path}:4"


@pytest.mark.parametrize(
    ("name", "text", "says", "line"),
    [
        ("ids.txt", "acme/a\nnot an id\n", "not a hub id", 2),
        ("ids.csv", "id\nacme/a\n../b\n", "not a hub id", 3),
        ("ids.jsonl", '{"id": "acme/a"}\n{"id"\n', "not valid JSON", 2),
        ("ids.jsonl", '{"id": "acme/a"}\n{"name": "b"}\n', "no column of hub ids", 2),
        ("ids.jsonl", '{"id": "acme/a"}\n[1]\n', "must be a JSON object", 2),
    ],
)
def test_a_line_that_names_no_model_is_named(tmp_path, name, text, says, line):
    path = written(tmp_path, name, text)
    with pytest.raises(TkError, match=says) as caught:
        found(path)
    assert caught.value.where == f"{path}:{line}"


@pytest.mark.parametrize("name", ["ids.txt", "ids.jsonl"])
def test_a_list_of_nothing_is_an_error(tmp_path, name):
    with pytest.raises(TkError, match="names no model"):
        found(written(tmp_path, name, ""))


def test_a_folder_without_models_is_an_error(tmp_path):
    with pytest.raises(TkError, match="holds no model"):
        found(tmp_path)


def test_a_table_without_ids_names_the_columns_that_it_has(tmp_path):
    with pytest.raises(TkError, match="its columns are name, license"):
        source_of(written(tmp_path, "hub.csv", "name,license\nx,mit\n"))
