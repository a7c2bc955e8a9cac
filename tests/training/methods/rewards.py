"""Reward functions as a user would write them."""


def has_e(completions, **columns):
    """Share of the letter e, in the way of TRL: completions are lists of messages."""
    texts = [turns[0]["content"] for turns in completions]
    return [text.count("e") / max(1, len(text)) for text in texts]


def wants_more(completions, difficulty):
    return [0.0 for _ in completions]


def too_few(completions):
    return [1.0]


def fails(completions, answer):
    raise KeyError("answer")
