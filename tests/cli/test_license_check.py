"""`tk license-check` as a person runs it."""

import json

import pytest

CHECK = ("license-check", "--offline")


def verdict(done):
    assert done.stderr == "", done.stderr
    return json.loads(done.stdout)


def test_an_apache_base_used_internally_is_allowed(tk):
    done = tk(*CHECK, "Qwen/Qwen2.5-7B-Instruct", "--distribution", "internal", "--commercial", "--format", "json")
    answer = verdict(done)
    assert done.returncode == 0
    assert answer["schema"] == "tk/verdict/1"
    assert answer["verdict"] == "allowed"
    assert answer["target"] == {"id": "Qwen/Qwen2.5-7B-Instruct", "revision": None, "source": "catalogue"}
    assert [entry["id"] for entry in answer["effective_licenses"]][:1] == ["apache-2.0"]


def test_a_research_base_used_commercially_needs_a_separate_license(tk):
    done = tk(*CHECK, "Qwen/Qwen2.5-3B", "--distribution", "internal", "--commercial", "--format", "json")
    assert done.returncode == 3
    assert verdict(done)["verdict"] == "needs-separate-license"


def test_a_distill_of_llama_carries_llamas_terms_under_its_mit_tag(tk):
    done = tk(*CHECK, "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "--distribution", "weights", "--commercial",
              "--name", "Support-8B", "--format", "json")  # fmt: skip
    answer = verdict(done)
    assert {entry["id"] for entry in answer["effective_licenses"]} == {"mit", "llama-3.1"}
    assert {"tag-omits-base-license", "tag-contradicts-base", "planned-name-breaks-prefix"} <= {
        finding["id"] for finding in answer["findings"]
    }
    assert {"name-prefix", "built-with-display", "notice-file", "license-copy", "aup"} <= {
        obligation["id"] for obligation in answer["obligations"]
    }
    assert any("700,000,000" in assumption for assumption in answer["assumptions"])


def test_a_use_that_says_nothing_needs_review_and_asks(tk):
    done = tk(*CHECK, "Qwen/Qwen2.5-7B", "--format", "json")
    assert done.returncode == 4
    assert [question["fact"] for question in verdict(done)["questions"]] == ["distribution"]


def test_strict_turns_assumptions_into_questions(tk):
    use = ("meta-llama/Llama-3.1-8B", "--distribution", "internal", "--commercial", "--format", "json")
    lenient, strict = verdict(tk(*CHECK, *use)), verdict(tk(*CHECK, *use, "--strict"))
    assert lenient["assumptions"]
    assert not lenient["questions"]
    assert not strict["assumptions"]
    assert "group_monthly_active_users" in {question["fact"] for question in strict["questions"]}
    assert strict["verdict"] == "needs-review"


def test_a_large_group_needs_a_separate_license_from_meta(tk):
    use = ("meta-llama/Llama-3.1-8B", "--distribution", "internal", "--commercial", "--format", "json")
    assert tk(*CHECK, *use, "--group-users", "2024-06=700000001").returncode == 3
    assert tk(*CHECK, *use, "--group-users", "2024-06=700000000").returncode == 0
    assert tk(*CHECK, *use, "--group-users", "2024-05=900000000", "--format", "json").returncode == 0


def test_a_non_commercial_data_set_stops_commercial_training(tk):
    use = ("Qwen/Qwen2.5-7B", "--distribution", "internal", "--commercial", "--format", "json")
    answer = verdict(tk(*CHECK, *use, "--dataset", "acme/rows=cc-by-nc-4.0"))
    assert answer["verdict"] == "prohibited"
    assert {"id": "cc-by-nc-4.0", "role": "dataset", "from": "acme/rows"}.items() <= answer["effective_licenses"][
        -1
    ].items()


def test_the_text_verdict_says_what_because_and_what_is_assumed(tk):
    done = tk(*CHECK, "meta-llama/Llama-3.1-8B", "--distribution", "weights", "--commercial")
    assert done.returncode == 0
    assert done.stdout.startswith("meta-llama/Llama-3.1-8B: allowed, with obligations\n")
    for words in ("Because", "You must", "Assumed", "Built with Llama", "1.b.i"):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["nowhere/../x"], "no such folder, and not a hub id", 1),
        (["acme/Unknown"], "nothing is known of acme/Unknown", 1),
        (["embedded:qwen9"], "no embedded base 'qwen9'", 1),
        (["Qwen/Qwen2.5-7B", "--distribution", "mars"], "'mars' is not one of", 2),
        (["Qwen/Qwen2.5-7B", "--seat", "Germany"], "must be a country code", 1),
        (["Qwen/Qwen2.5-7B", "--group-users", "many"], "write N, or YYYY-MM=N", 2),
        (["Qwen/Qwen2.5-7B", "--use", "absent.yaml"], "no such file", 1),
        ([], "Missing argument", 2),
    ],
)
def test_bad_input_gets_one_clear_error(tk, arguments, words, code):
    done = tk(*CHECK, *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_use_file_with_several_mistakes_names_them_all_with_lines(tk, tmp_path):
    path = tmp_path / "use.yaml"
    path.write_text("distribution: internal\ncomercial: true\nseat: Germany\nfields: [militry]\n")
    done = tk(*CHECK, "Qwen/Qwen2.5-7B", "--use", path)
    assert done.returncode == 1
    assert f"use.comercial: unknown key; did you mean 'commercial'? ({path}:2)" in done.stderr
    assert f"({path}:3)" in done.stderr
    assert f"({path}:4)" in done.stderr


def test_a_folder_is_judged_by_its_card_and_its_base(tk, tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\nbase_model: meta-llama/Llama-3.3-70B-Instruct\n---\n")
    done = tk(*CHECK, tmp_path, "--distribution", "internal", "--commercial", "--format", "json")
    answer = verdict(done)
    assert answer["target"]["source"] == "folder"
    assert {entry["id"] for entry in answer["effective_licenses"]} == {"mit", "llama-3.3"}


def test_a_placeholder_tag_declares_nothing(tk, tmp_path):
    (tmp_path / "README.md").write_text("---\nlicence: license\nbase_model: Qwen/Qwen2.5-7B\n---\n")
    done = tk(*CHECK, tmp_path, "--distribution", "internal", "--commercial", "--format", "json")
    answer = verdict(done)
    assert done.returncode == 4
    assert "no-license-declared" in {finding["id"] for finding in answer["findings"]}


def test_an_adapter_inherits_the_base_it_names(tk, tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen2.5-3B-Instruct"}))
    answer = verdict(tk(*CHECK, tmp_path, "--distribution", "internal", "--commercial", "--format", "json"))
    assert answer["verdict"] == "needs-separate-license"
    assert "adapter-license-does-not-cover-base" in {finding["id"] for finding in answer["findings"]}


def test_two_works_that_name_each_other_end_in_review(tk, tmp_path):
    for own, other in (("a", "b"), ("b", "a")):
        (tmp_path / own).mkdir()
        (tmp_path / own / "README.md").write_text(f"---\nlicense: mit\nbase_model: {tmp_path / other}\n---\n")
    answer = verdict(tk(*CHECK, tmp_path / "a", "--distribution", "internal", "--commercial", "--format", "json"))
    assert answer["verdict"] == "needs-review"


def test_front_matter_that_is_not_yaml_is_named_with_its_line(tk, tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\nbase_model: [a\n---\n")
    done = tk(*CHECK, tmp_path, "--distribution", "internal")
    assert done.returncode == 1
    assert "README.md:" in done.stderr
