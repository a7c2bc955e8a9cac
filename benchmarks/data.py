"""How fast chats become rows of tokens with labels: tk beside TRL's own preparation, on the same chats and tokenizer.

python benchmarks/data.py [--chats 4000] [--repeats 3] [--tokenizer FOLDER]

Both take conversations and give token ids in which only the assistant's tokens count. TRL runs as `SFTTrainer` runs it
(`_prepare_dataset`, one process, no cache), with `{% generation %}` marks in the template, which it needs and tk does
not. Figures are chats per second of process CPU time, so that a busy machine hurts neither side; the two alternate, the
median of the repeats counts, and the loss masks of both are compared token by token.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "data.json"
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}"
    "{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
Rows = list[tuple[list[int], list[int]]]


def make_chats(count: int) -> list[dict[str, Any]]:
    """Conversations of one to four turns with lengths as chats have them: log-normal, a few very long."""
    random = Random(7)
    words = (ROOT / "examples" / "support.jsonl").read_text(encoding="utf-8").split()

    def text(median: float) -> str:
        return " ".join(random.choices(words, k=max(3, round(random.lognormvariate(0, 0.8) * median))))

    return [
        {
            "messages": [
                {"role": role, "content": text(median)}
                for _ in range(random.randrange(1, 5))
                for role, median in (("user", 12), ("assistant", 30))
            ]
        }
        for _ in range(count)
    ]


def by_tk(path: Path, tokenizer: Any) -> Rows:
    """From the file, checks of every row included."""
    from toolkit.training.encoding import encode
    from toolkit.training.examples import examples_of
    from toolkit.training.rows import read_source

    _, examples = examples_of(read_source(path.name, path))
    encoded = encode(examples, tokenizer, 1 << 20)
    return list(zip(encoded.input_ids, encoded.labels, strict=True))


def by_trl(chats: list[dict[str, Any]], tokenizer: Any, model: Any) -> Rows:
    """From rows in memory."""
    from datasets import Dataset, disable_caching
    from trl import SFTConfig, SFTTrainer

    disable_caching()
    with tempfile.TemporaryDirectory() as place:
        args = SFTConfig(
            output_dir=place, max_length=None, assistant_only_loss=True, use_cpu=True, bf16=False, report_to="none"
        )
        trainer = SFTTrainer(model=model, args=args, train_dataset=Dataset.from_list(chats), processing_class=tokenizer)
    rows = trainer.train_dataset
    masks = rows["labels"] if "labels" in rows.column_names else None
    if masks is None:
        pairs = zip(rows["input_ids"], rows["assistant_masks"], strict=True)
        return [(ids, [token if kept else -100 for token, kept in zip(ids, mask, strict=True)]) for ids, mask in pairs]
    return list(zip(rows["input_ids"], masks, strict=True))


def timed(work: Callable[[], Rows]) -> tuple[Rows, float]:
    begun = time.process_time()
    rows = work()
    return rows, time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chats", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tokenizer", default=str(ROOT / "toolkit" / "models" / "embedded" / "qwen2"))
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    options = parser.parse_args()

    from datasets import disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    disable_progress_bars()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    tokenizer.chat_template = TEMPLATE
    model = AutoModelForCausalLM.from_pretrained(options.tokenizer)
    chats = make_chats(options.chats)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "chats.jsonl"
        path.write_text("".join(json.dumps(chat) + "\n" for chat in chats), encoding="utf-8")
        by_trl(chats[:8], tokenizer, model), by_tk(path, tokenizer)  # imports, first calls
        seconds: dict[str, list[float]] = {"tk": [], "trl": []}
        for _ in range(options.repeats):
            ours, taken = timed(lambda: by_tk(path, tokenizer))
            seconds["tk"].append(taken)
            theirs, taken = timed(lambda: by_trl(chats, tokenizer, model))
            seconds["trl"].append(taken)
    differing = sum(one != (list(other[0]), list(other[1])) for one, other in zip(ours, theirs, strict=True))
    rates = {name: options.chats / statistics.median(times) for name, times in seconds.items()}
    result = {
        "chats": options.chats,
        "tokens": sum(len(ids) for ids, _ in ours),
        "chats_per_cpu_second": {name: round(rate) for name, rate in rates.items()},
        "ratio": round(rates["tk"] / rates["trl"], 2),
        "rows_that_differ": differing,
        "cpu_seconds": {name: [round(taken, 2) for taken in times] for name, times in seconds.items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "versions": {name: version(name) for name in ("trl", "transformers", "tokenizers", "datasets")},
    }
    print(json.dumps(result, indent=2))
    if options.write:
        RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
