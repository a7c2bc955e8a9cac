"""`tk launch` from the outside: the gate first, a file or stdout, and the scheduler's own client."""

import json

import pytest

ROW = {"messages": [{"role": "user", "content": "Where is order 7?"}, {"role": "assistant", "content": "Here."}]}


@pytest.fixture
def place(tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(ROW) for _ in range(40)) + "\n")
    (tmp_path / "recipe.yaml").write_text(
        "base: Qwen/Qwen2.5-7B-Instruct\ndata: {train: rows.jsonl, license: own}\n"
        "use: {distribution: internal, commercial: true}\noutput: run\n"
    )
    return tmp_path


def launch(tk, place, *arguments, env=None):
    command = ("launch", "recipe.yaml", "--offline", "--gpu", "A100 80GB", *arguments)
    done = tk(*command, cwd=place, env=env)
    assert "Traceback" not in done.stderr
    return done


def test_the_gate_is_asked_before_anything_is_written(tk, place):
    done = launch(tk, place, "--on", "slurm", "-o", "x.sbatch", "--set", "base=Qwen/Qwen2.5-3B-Instruct")
    assert done.returncode == 3
    assert not (place / "x.sbatch").exists()


def test_a_plan_that_does_not_fit_is_no_job(tk, place):
    done = launch(tk, place, "--on", "slurm", "--set", "adapter.type=lora", "--gpu", "8GiB")
    assert done.returncode == 1
    assert "does not fit" in done.stderr


def test_the_job_goes_to_stdout_or_a_file_and_as_json_with_the_plan(tk, place):
    text = launch(tk, place, "--on", "slurm", "--gpus", "2").stdout
    assert text.startswith("#!/bin/bash\n")
    done = launch(tk, place, "--on", "slurm", "--gpus", "2", "-o", "x.sbatch", "--format", "json")
    value = json.loads(done.stdout)
    assert (place / "x.sbatch").read_text() == text
    assert value["schema"] == "tk/job/1"
    assert (value["path"], value["submitted"], value["plan"]["gpus"]) == ("x.sbatch", None, 2)


def test_submit_hands_the_file_to_the_client_and_says_what_it_answers(tk, place):
    client = place / "bin" / "sbatch"
    client.parent.mkdir()
    client.write_text('#!/bin/sh\nhead -1 "$1" >&2\necho Submitted batch job 7\n')
    client.chmod(0o755)
    done = launch(tk, place, "--on", "slurm", "--submit", env={"PATH": f"{client.parent}:/usr/bin:/bin"})
    assert (done.returncode, done.stdout) == (0, "Wrote run.sbatch and handed it in: Submitted batch job 7\n")
    client.write_text("#!/bin/sh\necho no such partition >&2\nexit 1\n")
    done = launch(tk, place, "--on", "slurm", "--submit", env={"PATH": f"{client.parent}:/usr/bin:/bin"})
    assert done.returncode == 1
    assert "sbatch refused the job: no such partition" in done.stderr


def test_without_the_client_the_error_names_it_and_the_command(tk, place):
    done = launch(tk, place, "--on", "skypilot", "--submit", env={"PATH": str(place)})
    assert done.returncode == 1
    assert "--submit needs sky, which is not on the PATH (run.sky.yaml)" in done.stderr
    assert "sky jobs launch" in done.stderr
