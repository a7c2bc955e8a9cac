"""Tasks of lm-evaluation-harness, run on the model in this process: by name, or described by a YAML file of the user's."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from toolkit.errors import InvalidInput, Problem, TkError
from toolkit.files.digests import sha256_file
from toolkit.files.schema import did_you_mean
from toolkit.planning.recipe import Recipe

_BATCH = 8  # rows in one forward pass


@dataclass(frozen=True, slots=True)
class Task:
    """A task by its name in the harness, and the file that describes it where it is the user's own."""

    name: str
    file: Path | None = None

    def to_json(self) -> dict[str, object]:
        if self.file is None:
            return {"task": self.name}
        return {"task": self.name, "file": self.file.name, "sha256": sha256_file(self.file)}


def tasks_of(recipe: Recipe) -> tuple[Task, ...]:
    """The tasks of a recipe. Raises InvalidInput for a harness that is not installed, for files that are none, and for
    names that the harness does not know."""
    asked = recipe.evaluate.tasks
    if asked and find_spec("lm_eval") is None:
        problem = Problem("recipe.evaluate.tasks", "lm-evaluation-harness is not installed", recipe.path)
        raise InvalidInput([problem], hint="pip install 'tk-toolkit[eval]', or leave evaluate.tasks out")
    tasks = tuple(_task(name, recipe) for name in asked)
    known = _manager(tasks).all_tasks if tasks else ()
    unknown = [task.name for task in tasks if task.name not in known]
    if unknown:
        key = "recipe.evaluate.tasks"
        text = "is no task of lm-evaluation-harness"
        problems = [Problem(key, f"{name!r} {text}{did_you_mean(name, known)}", recipe.path) for name in unknown]
        raise InvalidInput(problems, hint="`lm-eval ls tasks` lists them; one of your own is named by its YAML file")
    return tasks


def _manager(tasks: Sequence[Task]) -> Any:
    """The harness's table of tasks: the user's folders, and its own only where a task is named, since it has thousands."""
    from lm_eval.tasks import TaskManager

    folders = sorted({str(task.file.resolve().parent) for task in tasks if task.file})
    return TaskManager(include_path=folders or None, include_defaults=any(task.file is None for task in tasks))


def _task(name: str, recipe: Recipe) -> Task:
    from toolkit.files.strict_yaml import load_file

    if not name.endswith((".yaml", ".yml")):
        return Task(name)
    path = recipe.data_path(name)
    if path is None:
        raise InvalidInput([Problem("recipe.evaluate.tasks", f"no such file: {name}", recipe.path)])
    value = load_file(path).value
    called = value.get("task") if isinstance(value, dict) else None
    if not isinstance(called, str):
        raise TkError("describes no task: it has no `task:` with a name", where=str(path))
    return Task(called, path)


def task_scores(model: Any, tokenizer: Any, tasks: Sequence[Task], limit: int | None) -> dict[str, float]:
    """Scores by name, such as `arc_easy/acc`, of the model as it stands. The random state is left as it was.

    Raises TkError when the harness does not know a task or cannot have its data.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    was_training = model.training
    try:
        with _random_state(), redirect_stderr(StringIO()):  # bars that cannot be turned off
            found = simple_evaluate(
                model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=_BATCH),
                tasks=[task.name for task in tasks],
                task_manager=_manager(tasks),
                limit=limit,
                bootstrap_iters=0,
                log_samples=False,
            )
    except Exception as error:
        names = ", ".join(task.name for task in tasks)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TkError(
            f"lm-evaluation-harness could not run {names}: {reason}",
            hint="offline, a task needs its data in the cache of Hugging Face, or in a local file",
        ) from error
    finally:
        model.train(was_training)
    return _scores(found["results"]) if found else {}


def _scores(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    scores = {}
    for task, values in results.items():
        for name, value in values.items():
            metric, _, filtered = name.partition(",")
            if isinstance(value, int | float) and "," in name and not metric.endswith("_stderr"):
                scores[f"{task}/{metric}" + (f"/{filtered}" if filtered != "none" else "")] = float(value)
    return scores


@contextmanager
def _random_state() -> Iterator[None]:
    """The harness seeds everything; what is trained afterwards must not depend on that."""
    import numpy
    import torch

    plain, vector = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(plain)
        numpy.random.set_state(vector)
