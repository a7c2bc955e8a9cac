"""What a recipe may settle, section by section, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass

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
