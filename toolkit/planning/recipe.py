"""The recipe: what a person wants trained, on what, for which use. A few lines; everything else is derived.

Unknown keys, wrong types and contradictions are reported all at once with file and line, and names from other tools
are answered with ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import cast

from toolkit.errors import InvalidInput, Problem, TkError, UsageError
from toolkit.files.digests import sha256_json
from toolkit.files.schema import AnyOf, Flag, Key, Kind, ListOf, Number, Record, Text, did_you_mean, read_document
from toolkit.files.shipped import shipped
from toolkit.files.strict_yaml import Document, Path_, core_scalar, load_file
from toolkit.licensing.use import DatasetUse, IntendedUse, use_shape
from toolkit.licensing.vocabulary import vocabulary

METHODS = ("sft",)
FORMATS = ("auto", "messages", "prompt-completion", "alpaca", "sharegpt", "text")
DTYPES = ("auto", "float32", "bfloat16", "float16")
ATTENTIONS = ("auto", "sdpa", "flash_attention_2")
SHARDINGS = ("auto", "none", "ddp", "fsdp2")
SCHEDULERS = ("cosine", "linear", "constant", "constant_with_warmup")


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """LoRA as PEFT says it. `type: auto` takes the best that fits; no target modules means all linear matrices."""

    type: str = "auto"
    rank: int = 16
    alpha: int | None = None
    dropout: float = 0.0
    target_modules: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Training rows: a file, a folder or a hub data set, its licence, and rows held out from elsewhere if any."""

    train: str
    eval: str | None = None
    license: str | None = None
    id: str | None = None
    format: str = "auto"


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """`batch_size` counts examples per optimiser step, whatever the devices and micro-batches are."""

    epochs: float = 1.0
    max_steps: int | None = None
    batch_size: int = 16
    micro_batch_size: int | None = None
    learning_rate: float | None = None
    max_length: int = 2048
    seed: int = 42
    warmup: float = 0.03
    scheduler: str = "cosine"
    weight_decay: float = 0.0
    dtype: str = "auto"
    gradient_checkpointing: bool | None = None
    packing: bool | None = None
    optimizer: str | None = None
    attention: str = "auto"
    sharding: str = "auto"


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """Held-out share of the rows, how many held-out prompts are answered, and how long an answer may be (tokens)."""

    fraction: float = 0.1
    generate: int = 64
    max_new_tokens: int = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as resolved. `path` is the file it came from, as given."""

    base: str
    data: DataSettings
    output: str
    path: str
    method: str = "sft"
    adapter: AdapterSettings = AdapterSettings()
    use: IntendedUse = field(default_factory=IntendedUse)
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    trust_remote_code: bool = False

    def to_json(self) -> dict[str, object]:
        """Every setting as resolved, defaults included, in the keys of a recipe."""
        settings = {name: _settings(getattr(self, name)) for name in ("adapter", "data", "train", "evaluate")}
        head: dict[str, object] = {"base": self.base, "method": self.method}
        tail = {"use": self.use.to_json(), "output": self.output, "trust_remote_code": self.trust_remote_code}
        return {**head, **settings, **tail}

    @property
    def sha256(self) -> str:
        """Digest of the recipe as resolved: two spellings of one recipe share it."""
        return sha256_json(self.to_json())

    def judged_use(self) -> IntendedUse:
        """The intended use with the recipe's own data set among its data sets."""
        named = {dataset.id for dataset in self.use.datasets}
        identifier = self.data.id or self.data.train
        if identifier in named:
            return self.use
        return self.use._replace(datasets=(*self.use.datasets, DatasetUse(identifier, self.data.license)))

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


def recipe_shape() -> Record:
    """What a recipe may say; the JSON Schema for editors comes from it."""
    share = Number(minimum=0, maximum=1)
    count = Number(minimum=1, whole=True)
    adapter = Record(
        {
            "type": Key(Text(("auto", "lora", "qlora")), "auto: LoRA when it fits, else QLoRA", default="auto"),
            "rank": Key(Number(minimum=1, maximum=1024, whole=True), "LoRA rank", default=16),
            "alpha": Key(count, "LoRA alpha; twice the rank when left out"),
            "dropout": Key(Number(minimum=0, maximum=0.9), "LoRA dropout", default=0.0),
            "target_modules": Key(
                ListOf(Text()),
                "Modules that get an adapter, by name; all linear matrices when left out. "
                "Of a mixture of experts also attention, shared_experts, experts, router",
            ),
        },
        AdapterSettings,
        renamed={"r": "rank", "lora_r": "rank", "lora_rank": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout"},
    )
    data = Record(
        {
            "train": Key(
                Text(), "JSONL, JSON, CSV or Parquet file, a folder of them, or a hub data set", required=True
            ),
            "eval": Key(Text(), "Held-out rows from a file of their own"),
            "license": Key(Text(), "Licence of the data, SPDX where it has one"),
            "id": Key(Text(), "Name of the data set on the card"),
            "format": Key(Text(FORMATS), "How rows look; detected when left out", default="auto"),
        },
        DataSettings,
    )
    rate = Number(above=0, maximum=1)
    train = Record(
        {
            "epochs": Key(Number(above=0, maximum=10_000), "Passes over the data", default=1.0),
            "max_steps": Key(count, "Stop after this many optimiser steps"),
            "batch_size": Key(
                Number(minimum=1, maximum=1_000_000, whole=True),
                "Examples per optimiser step over all devices",
                default=16,
            ),
            "micro_batch_size": Key(count, "Examples per forward pass; the largest that fits when left out"),
            "learning_rate": Key(rate, "Peak learning rate"),
            "max_length": Key(Number(minimum=8, whole=True), "Longest row, in tokens", default=2048),
            "seed": Key(Number(minimum=0, maximum=2**32 - 1, whole=True), "One seed, one run", default=42),
            "warmup": Key(share, "Share of the steps that warm up", default=0.03),
            "scheduler": Key(Text(SCHEDULERS), "Learning rate schedule", default="cosine"),
            "weight_decay": Key(share, default=0.0),
            "dtype": Key(Text(DTYPES), "Number format of the base", default="auto"),
            "gradient_checkpointing": Key(Flag(), "Recompute activations; when it is needed to fit, if left out"),
            "packing": Key(Flag(), "Put several rows into one sequence; where it saves time, if left out"),
            "optimizer": Key(Text(), "Optimiser as transformers names it"),
            "attention": Key(Text(ATTENTIONS), "Attention as transformers names it", default="auto"),
            "sharding": Key(
                Text(SHARDINGS), "Several GPUs: a copy on each (ddp) or parameters sharded (fsdp2)", default="auto"
            ),
        },
        TrainSettings,
        renamed=_RENAMED_TRAIN,
    )
    evaluate = Record(
        {
            "fraction": Key(Number(minimum=0, maximum=0.9), "Share of the rows held out", default=0.1),
            "generate": Key(Number(minimum=0, whole=True), "Held-out prompts answered before and after", default=64),
            "max_new_tokens": Key(count, "Longest answer, in tokens", default=64),
        },
        EvaluateSettings,
    )
    method: Kind = Text(METHODS)
    keys = {
        "base": Key(Text(), "Hub id[@revision], folder, or embedded:FAMILY", required=True),
        "method": Key(method, "Training method", default="sft"),
        "adapter": Key(adapter),
        "data": Key(AnyData(data), required=True),
        "use": Key(use_shape(vocabulary()), "The intended use"),
        "train": Key(train),
        "evaluate": Key(evaluate),
        "output": Key(Text(), "Folder of the run", required=True),
        "trust_remote_code": Key(Flag(), "Run code that comes with the base; the card will say so", default=False),
    }
    renamed = {
        "model": "base",
        "model_name_or_path": "base",
        "base_model": "base",
        "dataset": "data",
        "output_dir": "output",
    }
    return Record(keys, renamed={**renamed, **{name: f"train.{new}" for name, new in _RENAMED_TRAIN.items()}})


_RENAMED_TRAIN = {
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "per_device_train_batch_size": "micro_batch_size",
    "micro_batch": "micro_batch_size",
    "gradient_accumulation_steps": "batch_size",
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "sequence_len": "max_length",
    "cutoff_len": "max_length",
    "warmup_ratio": "warmup",
    "warmup_steps": "warmup",
    "lr_scheduler_type": "scheduler",
    "lr": "learning_rate",
    "torch_dtype": "dtype",
    "optim": "optimizer",
    "attn_implementation": "attention",
}  # names of transformers, TRL, axolotl and LLaMA-Factory


class AnyData:
    """`data:` as a mapping, or only the file: `data: examples/support.jsonl`."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def read(self, value: object, path: Path_, report: object) -> object:
        shaped = {"train": value} if isinstance(value, str) else value
        return self._record.read(shaped, path, report)  # type: ignore[arg-type]

    def json_schema(self) -> dict[str, object]:
        return AnyOf((Text(), self._record), "").json_schema()


def _contradictions(recipe: Recipe, document: Document) -> Iterable[Problem]:
    train = recipe.train
    if train.micro_batch_size and train.batch_size % train.micro_batch_size:
        text = f"{train.micro_batch_size} does not divide batch_size {train.batch_size}"
        yield Problem("recipe.train.micro_batch_size", text, document.where(("train", "micro_batch_size")))
    if recipe.data.eval and "fraction" in _given(document, "evaluate") and recipe.evaluate.fraction > 0:
        text = "data.eval already gives the held-out rows; leave one of the two out"
        yield Problem("recipe.evaluate.fraction", text, document.where(("evaluate", "fraction")))


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
            if not isinstance(inner.get(part), dict):
                inner[part] = {}
            inner = inner[part]
        inner[path[-1]] = _override_value(text)
        origins[tuple(path)] = f"--set {key.strip()}"
    return Document(value, document.name, document.lines, origins)


def _override_value(text: str) -> object:
    if text.startswith("[") and text.endswith("]"):
        return [core_scalar(item.strip()) for item in text[1:-1].split(",") if item.strip()]
    return core_scalar(text)


def _settings(settings: object) -> dict[str, object]:
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}  # type: ignore[arg-type]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
