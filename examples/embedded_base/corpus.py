"""The pre-training corpus of the embedded base: English written by rules, from a seed. No third-party text is in it.

Read some of it:

    python examples/embedded_base/corpus.py --passages 20 --seed 1
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from random import Random

import scenes
import tasks

# A passage is a list of (role, text): one `text` for a plain document, or `user` and `assistant` in turn.
Passage = list[tuple[str, str]]

DOCUMENT_SHARE = 0.2
DOCUMENTS = (scenes.story, scenes.story, scenes.description, scenes.notes, scenes.echo)
TURNS = (1, 1, 1, 2, 3)


def passage(rng: Random) -> Passage:
    """One document or one conversation of up to three exchanges."""
    if rng.random() < DOCUMENT_SHARE:
        return [("text", rng.choice(DOCUMENTS)(rng))]
    kinds, weights = list(tasks.TASKS), list(tasks.TASKS.values())
    turns = rng.choice(TURNS)
    drawn = rng.choices(kinds, weights, k=turns)
    if rng.random() < 0.5:
        drawn = [drawn[0]] * turns
    exchanges = [task(rng) for task in drawn]
    return [turn for asked, answer in exchanges for turn in (("user", asked), ("assistant", answer))]


def passages(seed: int) -> Iterator[Passage]:
    """An endless stream of passages, the same for the same seed."""
    rng = Random(seed)
    while True:
        yield passage(rng)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--passages", type=int, default=20, help="how many to print, one JSON list a line")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    for _, each in zip(range(given.passages), passages(given.seed), strict=False):
        print(json.dumps(each, ensure_ascii=False))


if __name__ == "__main__":
    main()
