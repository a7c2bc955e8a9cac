"""Write `support.jsonl`: messages to the help desk of an invented furniture shop, and the line a triage clerk files.

    python examples/make_support_data.py --output examples/support.jsonl

The answer is `queue | order NUMBER | article | priority`. Everything is drawn from the lists below with a seed; the shop
(Brindlemoor Home), its customers and its orders do not exist.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

ARTICLES = (
    "desk lamp", "floor lamp", "table lamp", "office chair", "garden chair", "folding chair", "leather sofa",
    "corner sofa", "coffee table", "garden table", "oak table", "standing desk", "writing desk", "wall shelf",
    "metal shelf", "wooden shelf", "wall mirror", "round mirror", "wall clock", "kitchen clock", "glass vase",
    "picture frame", "wool blanket", "cotton blanket", "winter blanket", "feather pillow", "striped cushion",
    "wool rug", "round rug", "grey carpet", "blue curtain", "white curtain", "double bed", "single bed", "soft mattress",
    "tall wardrobe", "kitchen cabinet", "drawer unit", "coat rack", "shoe rack", "laundry basket", "garden bench",
    "bar stool", "kitchen stool", "bath mat", "door mat", "bath towel", "copper kettle", "steel pan", "soup pot",
    "tea mug", "glass jug", "serving tray", "plant pot", "candle holder", "storage box", "step ladder", "bread basket",
)  # fmt: skip

# What a customer writes, by the queue it belongs to.
COMPLAINTS = {
    "delivery": (
        "My {article} has not arrived, the order is {order}.",
        "Where is my {article}? The order number is {order}.",
        "I am still waiting for the {article} from order {order}.",
        "Order {order} is late, I expected the {article} last week.",
        "When will the {article} of order {order} be delivered?",
        "The driver never came with my {article}, order {order}.",
    ),
    "damage": (
        "The {article} from order {order} came broken.",
        "There is a crack in the {article}, order {order}.",
        "Order {order}: the {article} is scratched.",
        "My {article} stopped working after two days, order {order}.",
        "The {article} is damaged, the order number is {order}.",
        "I unpacked order {order} and the {article} has a dent.",
    ),
    "return": (
        "I want to send back the {article} from order {order}.",
        "Please take back the {article}, order {order}.",
        "The {article} does not fit our room, can I return it? Order {order}.",
        "I changed my mind about the {article} in order {order}.",
        "How do I return order {order}? I no longer need the {article}.",
        "I bought the wrong {article}, the order is {order}.",
    ),
    "billing": (
        "I was charged twice for the {article}, order {order}.",
        "The invoice of order {order} shows the wrong price for the {article}.",
        "I paid for the {article} but order {order} is still marked as unpaid.",
        "Please send me the bill for order {order}, the {article}.",
        "My card was charged too much for the {article} in order {order}.",
        "Order {order}: the discount on the {article} is not on my bill.",
    ),
}
# What tells the clerk how soon to act; an ordinary message has no such sentence.
PRIORITIES = {
    "high": (
        "It is urgent.", "Please hurry.", "I need an answer today.", "This cannot wait.", "Please act right away.",
        "I need it by tomorrow.", "Call me at once.",
    ),
    "normal": ("", "", "Thank you.", "Kind regards.", "Please let me know.", "I hope you can help."),
    "low": (
        "There is no hurry.", "Take your time.", "Next month is fine.", "It can wait.", "No need to rush.",
        "Answer whenever it suits you.",
    ),
}  # fmt: skip
OPENINGS = (
    "",
    "",
    "Hello.",
    "Hi!",
    "Good morning.",
    "Hello team.",
    "Hello Brindlemoor.",
    "Good day, Brindlemoor Home.",
)


def ticket(rng: Random) -> tuple[str, str]:
    """A message and the line it is filed under."""
    queue = rng.choice(list(COMPLAINTS))
    priority = rng.choice(list(PRIORITIES))
    article, order = rng.choice(ARTICLES), str(rng.randint(10_000, 99_999))
    complaint = rng.choice(COMPLAINTS[queue]).format(article=article, order=order)
    remark = rng.choice(PRIORITIES[priority])
    parts = [rng.choice(OPENINGS), *((remark, complaint) if rng.random() < 0.25 else (complaint, remark))]
    return " ".join(part for part in parts if part), f"{queue} | order {order} | {article} | {priority}"


def rows(count: int, seed: int) -> list[dict[str, list[dict[str, str]]]]:
    """That many conversations, no two with the same order number, so that no message appears twice."""
    rng = Random(seed)
    found: dict[str, tuple[str, str]] = {}
    while len(found) < count:
        message, line = ticket(rng)
        found.setdefault(line.split(" | ")[1], (message, line))
    return [
        {"messages": [{"role": "user", "content": message}, {"role": "assistant", "content": line}]}
        for message, line in found.values()
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True)
    options.add_argument("--rows", type=int, default=1000)
    options.add_argument("--seed", type=int, default=7)
    given = options.parse_args()
    lines = [json.dumps(row) for row in rows(given.rows, given.seed)]
    given.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} rows in {given.output}")


if __name__ == "__main__":
    main()
