"""Write the small data of the recipes for other methods than sft, from the messages of `make_support_data.py`.

    python examples/make_method_data.py --folder examples

`preferences.jsonl` for dpo and orpo, `judged.jsonl` for kto, `filing.jsonl` for pretrain, `prompts.jsonl`
and `sums.jsonl` for grpo.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

from make_support_data import ARTICLES, COMPLAINTS, PRIORITIES, ticket


def misfiled(line: str, rng: Random) -> str:
    """The line of a clerk who sorted wrongly: another queue and another priority."""
    queue, order, article, priority = line.split(" | ")
    queue = rng.choice([other for other in COMPLAINTS if other != queue])
    return " | ".join((queue, order, article, rng.choice([other for other in PRIORITIES if other != priority])))


def preferences(rng: Random, count: int) -> list[dict[str, object]]:
    """Two lines to a message, of which the first sorts it rightly."""
    rows: list[dict[str, object]] = []
    for _ in range(count):
        message, line = ticket(rng)
        rows.append({"prompt": message, "chosen": line, "rejected": misfiled(line, rng)})
    return rows


def judged(rng: Random, count: int) -> list[dict[str, object]]:
    """One line to a message, right or wrong, and whether it is right."""
    rows: list[dict[str, object]] = []
    for _ in range(count):
        (message, line), right = ticket(rng), rng.random() < 0.5
        rows.append({"prompt": message, "completion": line if right else misfiled(line, rng), "label": right})
    return rows


def filing(rng: Random, count: int) -> list[dict[str, object]]:
    """Pages of the desk's book: messages of a day, each with the line that was filed."""
    pages: list[dict[str, object]] = []
    for number in range(1, count + 1):
        entries = [ticket(rng) for _ in range(rng.randint(1, 6))]
        text = "\n".join(f"Message: {message}\nFiled as: {line}" for message, line in entries)
        pages.append({"text": f"Brindlemoor Home, help desk, page {number}.\n{text}"})
    return pages


def prompts(rng: Random, count: int) -> list[dict[str, object]]:
    """Messages with a question; `answer` is the order that they are about."""
    rows: list[dict[str, object]] = []
    for _ in range(count):
        message, line = ticket(rng)
        order = line.split(" | ")[1].removeprefix("order ")
        rows.append({"prompt": f"{message} What is the number of the order?", "answer": order})
    return rows


def sums(rng: Random, count: int) -> list[dict[str, object]]:
    """Small sums of the shop in words; `answer` is the number that comes out."""
    rows: list[dict[str, object]] = []
    for _ in range(count):
        price, pieces, off = rng.randint(3, 90), rng.randint(2, 12), rng.randint(1, 20)
        article = rng.choice(ARTICLES)
        question = (
            f"A {article} costs {price} euros. A customer orders {pieces} of them and gets {off} euros off the whole "
            "bill. How many euros is the bill? Think step by step, and end with the number."
        )
        rows.append({"prompt": question, "answer": str(price * pieces - off)})
    return rows


FILES = {
    "preferences.jsonl": (preferences, 320),
    "judged.jsonl": (judged, 480),
    "filing.jsonl": (filing, 240),
    "prompts.jsonl": (prompts, 160),
    "sums.jsonl": (sums, 400),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--seed", type=int, default=11)
    given = options.parse_args()
    for name, (make, count) in FILES.items():
        rows = make(Random(f"{given.seed}/{name}"), count)
        (given.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        print(f"{len(rows)} rows in {given.folder / name}")


if __name__ == "__main__":
    main()
