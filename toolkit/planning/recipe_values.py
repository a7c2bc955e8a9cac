"""What a recipe may settle, section by section, with the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

METHODS = ("sft", "pretrain", "dpo", "kto", "orpo", "grpo")
FORMATS = (
    "auto",
    "messages",
    "prompt-completion",
    "alpaca",
    "sharegpt",
    "text",
    "preference",
    "unpaired-preference",
    "prompt-only",
)
ADAPTERS = ("auto", "lora", "lora-8bit", "qlora")
INITS = ("default", "gaussian", "pissa", "pissa_niter_N", "olora", "eva", "loftq")  # N a whole number
DTYPES = ("auto", "float32", "bfloat16", "float16")
ATTENTIONS = ("auto", "sdpa", "flash_attention_2")
OVERLENGTHS = ("error", "split", "truncate")
TRAIN_ON = ("assistant", "last", "all")
SHARDINGS = ("auto", "none", "ddp", "fsdp2")
SCHEDULERS = ("cosine", "linear", "constant", "constant_with_warmup")


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """LoRA as PEFT says it. `type` says what lies beneath: the base as it is (lora), in int8 (lora-8bit) or in NF4 (qlora);
    auto takes the best that fits. No target modules means all linear matrices. `new_tokens` are added to the tokenizer.
    `start` is an earlier run whose adapter is trained on."""

    type: str = "auto"
    rank: int = 16
    alpha: int | None = None
    dropout: float = 0.0
    target_modules: tuple[str, ...] | None = None
    start: str | None = None
    dora: bool = False
    rslora: bool = False
    init: str = "default"
    lora_plus_ratio: float | None = None
    new_tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataSource:
    """One file, folder or hub data set (`path`, `config`, `split`), the licence it is under and its name on the card.

    `columns` says which of our columns a column of the file stands for: `{"prompt": "question"}`. `weight` is its share
    of an epoch's examples, relative to the other sources' weights.
    """

    path: str
    weight: float | None = None
    license: str | None = None
    id: str | None = None
    format: str | None = None
    config: str | None = None
    split: str | None = None
    columns: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """As messages name it: the path, with configuration and split where the recipe names them."""
        parts = [part for part in (self.config, self.split) if part]
        return f"{self.path} ({', '.join(parts)})" if parts else self.path


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Training rows: one source or several, and rows held out from elsewhere if any.

    What stands beside `train` (licence, format, split, columns …) holds for every source that does not say it itself.
    """

    train: str | tuple[DataSource, ...]
    eval: str | DataSource | None = None
    license: str | None = None
    id: str | None = None
    format: str = "auto"
    config: str | None = None
    split: str | None = None
    columns: Mapping[str, str] | None = None
    streaming: bool = False
    on_overlength: str = "error"
    train_on: str = "assistant"
    template: str | None = None

    @property
    def sources(self) -> tuple[DataSource, ...]:
        """The sources to train on, each complete."""
        if isinstance(self.train, str):
            return (self._complete(DataSource(self.train, id=self.id)),)
        return tuple(self._complete(source) for source in self.train)

    @property
    def eval_source(self) -> DataSource | None:
        """Where held-out rows come from when they have a source of their own; `split` and `config` are then its own."""
        if self.eval is None:
            return None
        source = DataSource(self.eval) if isinstance(self.eval, str) else self.eval
        return replace(source, format=source.format or self.format, columns=source.columns or self.columns)

    def _complete(self, source: DataSource) -> DataSource:
        return replace(
            source,
            license=source.license or self.license,
            format=source.format or self.format,
            config=source.config or self.config,
            split=source.split or self.split,
            columns=source.columns or self.columns,
        )


@dataclass(frozen=True, slots=True)
class SaveSettings:
    """Checkpoints: every so many steps (a share of all) or so often (a time such as `10min`), and how many are kept."""

    every: float | str = 0.25
    keep: int = 2


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """`batch_size` counts examples per optimiser step, whatever the devices and micro-batches are; a plan derives it
    from `tokens_per_step` where that is given instead."""

    epochs: float = 1.0
    max_steps: int | None = None
    batch_size: int = 16
    tokens_per_step: int | None = None
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
    save: SaveSettings = field(default_factory=SaveSettings)


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """Held-out share of the rows, how many held-out prompts are answered and scored, how long an answer may be (tokens),
    and what the scores must satisfy. `every` is a share of the steps; `tasks` are lm-evaluation-harness'."""

    fraction: float = 0.1
    generate: int = 64
    max_new_tokens: int = 64
    metric: tuple[str, ...] = ("exact-match",)
    samples: int = 4
    every: float | None = None
    tasks: tuple[str, ...] = ()
    task_limit: int | None = None
    require: Mapping[str, str] = field(default_factory=dict)
