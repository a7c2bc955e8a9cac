"""The recipe: what a person wants trained, on what, for which use. A few lines; everything else is derived.

Unknown keys, wrong types and contradictions are reported all at once with file and line, and names from other tools
are answered with ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import cast

from toolkit.errors import InvalidInput, Problem, TkError, UsageError
from toolkit.files.digests import sha256_json
from toolkit.files.schema import did_you_mean, read_document, read_value
from toolkit.files.shipped import shipped
from toolkit.files.strict_yaml import Document, Path_, core_scalar, load_file, load_text
from toolkit.licensing.use import DatasetUse, IntendedUse
from toolkit.planning.method_problems import method_problems
from toolkit.planning.method_settings import SECTION_OF, GrpoSettings, PreferenceSettings
from toolkit.planning.recipe_shape import recipe_shape
from toolkit.planning.recipe_values import AdapterSettings, DataSettings, DataSource, EvaluateSettings, TrainSettings
from toolkit.planning.start import started_from
from toolkit.planning.watching_problems import watching_problems


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as resolved. `path` is the file it came from, as given."""

    base: str
    data: DataSettings
    output: str
    path: str
    method: str = "sft"
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    use: IntendedUse = field(default_factory=IntendedUse)
    train: TrainSettings = field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    preference: PreferenceSettings = field(default_factory=PreferenceSettings)
    grpo: GrpoSettings = field(default_factory=GrpoSettings)
    track: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    trust_remote_code: bool = False

    def to_json(self) -> dict[str, object]:
        """Every setting as resolved, defaults included, in the keys of a recipe."""
        sections = ["adapter", "data", "train", "evaluate"]
        if self.method in SECTION_OF:  # of the methods' own sections, the one that is used
            sections.append(SECTION_OF[self.method])
        settings = {name: _settings(getattr(self, name)) for name in sections}
        head: dict[str, object] = {"base": self.base, "method": self.method}
        tail: dict[str, object] = {
            "use": self.use.to_json(),
            "output": self.output,
            "trust_remote_code": self.trust_remote_code,
        }
        if self.track:
            tail["track"] = {name: dict(settings) for name, settings in self.track.items()}
        return {**head, **settings, **tail}

    @property
    def sha256(self) -> str:
        """Digest of the recipe as resolved: two spellings of one recipe share it."""
        return sha256_json(self.to_json())

    @property
    def rows_per_step(self) -> int:
        """Rows that an optimiser step learns from: the examples, or what was sampled to each of them."""
        return self.train.batch_size * (self.grpo.generations if self.method == "grpo" else 1)

    def judged_use(self) -> IntendedUse:
        """The intended use with each of the recipe's own data sets among its data sets, and those of the run it starts
        from. One name under two licences is named twice, so that both are judged."""
        named = {dataset.id for dataset in self.use.datasets}
        own = [DatasetUse(source.id or source.path, source.license) for source in self.data.sources]
        if self.adapter.start is not None:
            own += [DatasetUse(str(item["id"]), item["license"]) for item in started_from(self.adapter.start)]
        added = [dataset for dataset in dict.fromkeys(own) if dataset.id not in named]
        return self.use._replace(datasets=(*self.use.datasets, *added))

    def data_path(self, name: str) -> Path | None:
        """The file or folder a data entry means: from the current folder, else from the folder that holds the recipe's
        own folder (so that a shipped recipe finds the shipped examples); None when neither has it."""
        candidates = [Path(name), Path(self.path).resolve().parent.parent / name, shipped("examples").parent / name]
        return next((path for path in candidates if path.exists()), None)


def load_recipe(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file and apply `key.path=value` overrides. A name that is no file may be a shipped recipe.

    Raises TkError when there is no such file and InvalidInput with every problem in it.
    """
    path = find_recipe(name)
    document = _with_overrides(load_file(path, name=str(path)), overrides)
    if document.value is None or document.value == {}:
        raise InvalidInput([Problem("recipe", "is empty; it needs base, data and output", f"{path}:1")])
    raw = cast("Mapping[str, object]", read_document(document, recipe_shape(), "recipe"))
    recipe = Recipe(path=str(path), **raw)  # type: ignore[arg-type]
    if problems := list(_contradictions(recipe, document)):
        raise InvalidInput(problems)
    return recipe


def recipe_of_record(record: Mapping[str, object]) -> Recipe:
    """The recipe that a run record holds, as it was resolved. Raises InvalidInput when this version cannot read it."""
    written = cast("Mapping[str, Mapping[str, object]]", record["recipe"])
    where = str(written.get("path") or "")
    raw = cast("Mapping[str, object]", read_value(_stated(written["resolved"]), recipe_shape(), "recipe", where))
    return Recipe(path=where, **raw)  # type: ignore[arg-type]


def _stated(value: object) -> object:
    """A mapping without what nobody stated: a record writes that as null, a recipe leaves it out."""
    if isinstance(value, list | tuple):
        return [_stated(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {key: _stated(item) for key, item in value.items() if item is not None}


def find_recipe(name: str) -> Path:
    """The file of a recipe: as given, else the shipped recipe of that name."""
    given = Path(name)
    if given.is_file():
        return given
    if given.exists():
        raise TkError("is a folder, not a recipe", where=name)
    shipped_one = shipped("recipes") / given.name
    if shipped_one.is_file() and str(given.parent) in (".", "recipes"):
        return shipped_one
    known = [f"recipes/{path.name}" for path in sorted(shipped("recipes").glob("*.yaml"))]
    raise TkError(f"no such recipe{did_you_mean(name, known)}", where=name, hint="recipes/ holds the shipped ones")


def _contradictions(recipe: Recipe, document: Document) -> Iterable[Problem]:
    train = recipe.train
    if train.tokens_per_step and "batch_size" in _given(document, "train"):
        text = "batch_size already says how large a step is; leave one of the two out"
        yield Problem("recipe.train.tokens_per_step", text, document.where(("train", "tokens_per_step")))
    elif train.tokens_per_step is None and train.micro_batch_size and recipe.rows_per_step % train.micro_batch_size:
        text = f"{train.micro_batch_size} does not divide batch_size {train.batch_size}"
        if recipe.method == "grpo":
            text += f" x {recipe.grpo.generations} generations"
        yield Problem("recipe.train.micro_batch_size", text, document.where(("train", "micro_batch_size")))
    if recipe.data.eval and "fraction" in _given(document, "evaluate") and recipe.evaluate.fraction > 0:
        text = "data.eval already gives the held-out rows; leave one of the two out"
        yield Problem("recipe.evaluate.fraction", text, document.where(("evaluate", "fraction")))
    yield from method_problems(recipe, document)
    yield from _data_contradictions(recipe, document)
    yield from watching_problems(recipe, document)


def _data_contradictions(recipe: Recipe, document: Document) -> Iterable[Problem]:
    data, where = recipe.data, document.where(("data", "train"))
    sources = data.sources
    seen: set[str] = set()
    for source in sources:
        if source.name in seen:
            text = f"{source.name} is named twice; a weight makes a source count for more"
            yield Problem("recipe.data.train", text, where)
        seen.add(source.name)
    unweighted = [source.name for source in sources if source.weight is None]
    if unweighted and len(unweighted) < len(sources):
        text = f"{unweighted[0]} has no weight and others have; give every source one, or none"
        yield Problem("recipe.data.train", text, where)
    elif unweighted and data.streaming and len(sources) > 1:
        text = "sources that are streamed together need a weight each, since their lengths are not known beforehand"
        yield Problem("recipe.data.train", text, where)
    if data.streaming and data.on_overlength == "split" and recipe.train.max_steps is None:
        text = "is needed: how many rows the streamed ones are once they are split is not known beforehand"
        yield Problem("recipe.train.max_steps", text, where)
    if data.id and len(sources) > 1:
        text = "names one data set; with several sources each has an `id` of its own"
        yield Problem("recipe.data.id", text, document.where(("data", "id")))


def _given(document: Document, section: str) -> Mapping[str, object]:
    value = cast("Mapping[str, object]", document.value).get(section)
    return value if isinstance(value, dict) else {}


def _with_overrides(document: Document, overrides: Iterable[str]) -> Document:
    value = document.value
    origins: dict[Path_, str] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {override}: write it as key.path=value, such as --set train.epochs=1")
        if not isinstance(value, dict):
            break
        path = key.strip().split(".")
        inner = value
        for part in path[:-1]:
            if not isinstance(inner.get(part), dict):  # `data: FILE` is short for its `train`
                inner[part] = {"train": inner[part]} if part == "data" and isinstance(inner.get(part), str) else {}
            inner = inner[part]
        inner[path[-1]] = _override_value(text)
        origins[tuple(path)] = f"--set {key.strip()}"
    return Document(value, document.name, document.lines, origins)


def _override_value(text: str) -> object:
    """A list, a mapping or a quoted text as YAML has them; anything else is one plain value, whatever is in it."""
    if text.startswith(("[", "{", '"', "'")):
        return load_text(text, f"--set …={text}").value
    return core_scalar(text)


def _settings(settings: object) -> dict[str, object]:
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}  # type: ignore[arg-type]
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: object) -> object:
    """A setting in the words of a recipe; of a source only what was said."""
    if isinstance(value, DataSource):
        return {name: item for name, item in _settings(value).items() if item is not None}
    if is_dataclass(value):
        return _settings(value)
    if isinstance(value, Mapping):
        return dict(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
