"""What an audit costs: whole processes of `tk audit` over made-up registries.

python benchmarks/audit.py              4,000 folders; tables of 10^4, 10^5 and 10^6 rows; ends with 1 beyond a bound
python benchmarks/audit.py --rows 1e4   only a table of that many rows (may be given several times)
python benchmarks/audit.py --folders 400

Bounds are for two cores: 20 s for 4,000 folders; 60 s and 2 GiB for 10^6 rows. Time for a row must not grow with the table.
Wall time tells what a person waits, CPU time what the work costs when other programs share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
AUDIT = [sys.executable, "-m", "toolkit", "audit"]
USE = ["--distribution", "weights", "--commercial", "--offline", "--fail-on", "none"]
SECONDS_FOR_4000_FOLDERS = 20
SECONDS_FOR_A_MILLION_ROWS = 60
MIB_FOR_A_MILLION_ROWS = 2048
BATCH_ROWS = 50_000

# Shares of what model cards declare, most of them fine-tunes under a few licences and many under none.
LICENSES = {"apache-2.0": 38, None: 24, "mit": 12, "other": 5, "llama3.1": 4, "cc-by-nc-4.0": 4, "llama3": 3, "gemma": 3,
            "creativeml-openrail-m": 3, "cc-by-4.0": 2, "openrail": 1, "unknown": 1}  # fmt: skip
NAMES = ["qwen-research", "deepseek", "llama-3.3-community", "our-terms"]
KNOWN_BASES = ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-3B", "meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.3-70B-Instruct",
               "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "mistralai/Mistral-7B-v0.3", "google/gemma-2-9b-it"]  # fmt: skip
RELATIONS = ["", "finetune:", "quantized:", "adapter:"]
OTHER_TAGS = ["transformers", "safetensors", "text-generation", "conversational", "en", "autotrain_compatible", "gguf",
              "endpoints_compatible", "region:us", "arxiv:2407.21783", "dataset:HuggingFaceH4/no_robots", "tensorboard"]  # fmt: skip
DEEPEST = 6


class Cost(NamedTuple):
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


def cost(command: list[str]) -> Cost:
    """Run a command; its memory is that of its largest process."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def make_folders(registry: Path, count: int) -> None:
    """Folders with cards, configurations and licence files; a third are adapters, most of them on folders of the registry."""
    chance = random.Random(7)
    apache = (ROOT / "LICENSE").read_text(encoding="utf-8")
    body = "\n".join(f"Line {line} of what cards say about training and evaluation." for line in range(60))
    made: list[str] = []
    for number in range(count):
        name = f"org-{number % 97}/model-{number}"
        folder = registry / name
        folder.mkdir(parents=True)
        declared = chance.choices(list(LICENSES), list(LICENSES.values()))[0]
        front = ["tags:", "- text-generation"] + ([f"license: {declared}"] if declared else [])
        base = chance.choice(made) if made and chance.random() < 0.6 else chance.choice(KNOWN_BASES)
        if number % 3 == 0:
            (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base, "r": 16}))
        else:
            (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "vocab_size": 32000}))
            if number % 3 == 1:
                front.append(f"base_model: {base}")
        (folder / "README.md").write_text("---\n" + "\n".join(front) + f"\n---\n# Model {number}\n\n{body}\n")
        if declared == "apache-2.0":
            (folder / "LICENSE").write_text(apache)
        elif number % 5 == 0:
            (folder / "LICENSE").write_text(
                f"Terms of org-{number % 97}\n\n1. Use it kindly.\n\n2. Say where it is from.\n"
            )
        if len(made) < 400:  # lineages stay a few works deep, as registries' are
            made.append(name)


def rows_of(count: int) -> Iterator[dict[str, object]]:
    """Rows of hub metadata: roots, fine-tunes, quantisations and adapters up to six deep, merges of two, bases that are
    nowhere, names that show a base, and a few that descend from themselves."""
    chance = random.Random(count)
    levels: list[list[str]] = [[] for _ in range(DEEPEST)]
    for number in range(count):
        declared = chance.choices(list(LICENSES), list(LICENSES.values()))[0]
        kind = chance.random()
        level = min(int(chance.expovariate(0.9)), DEEPEST)
        name = f"user-{number % 40_000}/model-{number}"
        bases: list[str] = []
        if level and levels[level - 1]:
            bases = chance.choices(levels[level - 1], k=2 if kind < 0.06 else 1)
        elif kind < 0.25:
            bases = [chance.choice(KNOWN_BASES)]
        elif kind < 0.30:
            bases = [f"gone-{chance.randrange(count)}/lost"]
        elif kind < 0.3002:
            bases = [name]
        elif kind < 0.45:
            name = f"user-{number % 40_000}/{chance.choice(KNOWN_BASES).partition('/')[2]}-GGUF-{number}"
        if level < DEEPEST and len(levels[level]) < 100_000:
            levels[level].append(name)
        relation = chance.choice(RELATIONS)
        tags = [*chance.sample(OTHER_TAGS, 8), *(f"license:{key}" for key in [declared] if key)]
        for base in dict.fromkeys(bases):
            tags += [f"base_model:{base}", f"base_model:{relation or 'finetune:'}{base}"]
        yield {"id": name, "tags": tags, "license_name": chance.choice(NAMES) if declared == "other" else None,
               "pipeline_tag": "text-generation" if chance.random() < 0.8 else None,
               "downloads": chance.randrange(10_000)}  # fmt: skip


def make_table(path: Path, count: int) -> None:
    """A Parquet table, made in batches so that making it does not need more memory than reading it."""
    import polars as pl

    schema = {"id": pl.String, "tags": pl.List(pl.String), "license_name": pl.String, "pipeline_tag": pl.String,
              "downloads": pl.Int64}  # fmt: skip
    rows = rows_of(count)
    parts = []
    while batch := list(islice(rows, BATCH_ROWS)):
        part = path.with_suffix(f".{len(parts)}.part")
        pl.DataFrame(batch, schema=schema).write_parquet(part)
        parts.append(part)
    pl.scan_parquet(parts).sink_parquet(path)
    for part in parts:
        part.unlink()


def folders(place: Path, count: int) -> bool:
    make_folders(place / "registry", count)
    took = cost([*AUDIT, str(place / "registry"), *USE, "--format", "jsonl", "--to", str(place / "folders.jsonl")])
    with (place / "folders.jsonl").open() as lines:
        judged = sum(1 for _ in lines)
    bound = SECONDS_FOR_4000_FOLDERS * count / 4000
    print(f"{judged:>9,} folders {took.wall_seconds:7.1f} s (bound {bound:g}) {took.cpu_seconds:7.1f} s CPU "
          f"{took.peak_mib:7.0f} MiB")  # fmt: skip
    return judged == count and took.wall_seconds <= max(bound, 2)


def tables(place: Path, sizes: list[int]) -> bool:
    import polars as pl

    good, each = True, []
    for count in sizes:
        table, written = place / f"hub-{count}.parquet", place / f"audit-{count}.parquet"
        make_table(table, count)
        took = cost([*AUDIT, str(table), *USE, "--format", "parquet", "--to", str(written)])
        judged = pl.scan_parquet(written).select(pl.len()).collect().item()
        each.append(took.cpu_seconds / count * 1e6)
        print(f"{judged:>9,} rows    {took.wall_seconds:7.1f} s (bound {SECONDS_FOR_A_MILLION_ROWS}) "
              f"{took.cpu_seconds:7.1f} s CPU {took.peak_mib:7.0f} MiB (bound {MIB_FOR_A_MILLION_ROWS})  "
              f"{each[-1]:6.1f} microseconds of CPU for a row")  # fmt: skip
        good &= judged == count and took.wall_seconds <= SECONDS_FOR_A_MILLION_ROWS
        good &= took.peak_mib <= MIB_FOR_A_MILLION_ROWS
    return good and each == sorted(each, reverse=True)  # what a start costs is shared by more rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folders", type=int, default=None)
    parser.add_argument("--rows", type=float, action="append")
    asked = parser.parse_args()
    everything = asked.folders is None and asked.rows is None
    good = True
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["HF_HUB_CACHE"] = str(place / "hub")
        if everything or asked.folders:
            good &= folders(place, asked.folders or 4000)
        if everything or asked.rows:
            good &= tables(place, [int(count) for count in asked.rows or (1e4, 1e5, 1e6)])
    return int(not good)


if __name__ == "__main__":
    raise SystemExit(main())
