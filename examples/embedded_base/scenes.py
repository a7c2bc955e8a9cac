"""Scenes: a short message or story together with the facts it states, so that questions about it have known answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import words

# For each kind of fact: how to draw one, and what a person may call it.
FACTS: dict[str, tuple[Callable[[Random], str], tuple[str, ...]]] = {
    "name": (words.name, ("name", "person", "sender")),
    "city": (words.city, ("city", "town", "place")),
    "item": (words.thing, ("item", "thing", "object", "article")),
    "number": (lambda rng: words.number(rng, (2, 6)), ("number", "reference", "code", "ticket")),
    "day": (lambda rng: rng.choice(words.DAYS), ("day", "weekday")),
    "time": (words.clock, ("time", "hour")),
    "count": (lambda rng: str(rng.randint(2, 20)), ("amount", "quantity", "count")),
    "room": (lambda rng: rng.choice(words.ROOMS), ("room",)),
    "job": (lambda rng: rng.choice(words.JOBS), ("job", "work")),
    "food": (lambda rng: rng.choice(words.FOODS), ("food", "dish")),
    "hobby": (lambda rng: rng.choice(words.HOBBIES), ("hobby",)),
}

SENTENCES = (
    "{name} lives in {city}.",
    "{name} is a {job} from {city}.",
    "{name} bought a {item} in {city}.",
    "{name} bought {count} plates and a {item} on {day}.",
    "I lost my {item} on {day}. My ticket is {number}.",
    "Ticket {number}: the {item} in the {room} is broken.",
    "The {item} with the number {number} belongs to {name}.",
    "The {item} in the {room} does not work. My reference is {number}.",
    "Please bring the {item} to the {room} at {time}.",
    "Please book a table for {count} people on {day} at {time}. The name is {name}.",
    "Train {number} to {city} leaves at {time}.",
    "{name} took bus {number} to {city} on {day}.",
    "The book {number} is due on {day}. Ask {name} about it.",
    "Hello, I am {name}. I wait for the {item} since {day}. The code is {number}.",
    "Parcel {number} for {name} in {city} holds a {item}.",
    "My {item} has not come yet, the number is {number}.",
    "I sent back the {item} (reference {number}) on {day}.",
    "About {number}: where is the {item}?",
    "{name} wants {count} cups and some {food} at {time}.",
    "Dear {name}, the {item} is in the {room}.",
    "Dear {name}, your code {number} is valid until {day}.",
    "{name} cooks {food} in the {room} on {day}.",
    "{name} likes {hobby} and works as a {job}.",
    "On {day} {name} goes to {city} for {hobby}.",
    "The {job} {name} ordered the {item} under the number {number}.",
    "We meet in {city} on {day} at {time}.",
    "Number {number} is the {item}, not the {food}.",
    "I have a question on {number}. The {item} came on {day}.",
    "Can you check {number} for me? It is about the {item}.",
    "The {item} cost {count} euros, says {name}.",
)

ENDINGS = words.URGENT + words.RELAXED + words.NEUTRAL
QUESTIONS = {
    "name": ("Who is it about?", "Which person is named?", "What is the name?"),
    "city": ("Which city is it?", "Where is it?", "What is the city?"),
    "item": ("Which item is it?", "What is the item?", "What thing is meant?"),
    "number": ("What is the number?", "Which number is given?", "What is the reference?"),
    "day": ("Which day is it?", "When is it?", "What is the day?"),
    "time": ("At what time?", "What is the time?"),
    "count": ("How many?", "What is the amount?"),
    "room": ("Which room is it?", "In which room?"),
    "job": ("What is the job?", "What work is it?"),
    "food": ("Which food is named?", "What is the food?"),
    "hobby": ("What is the hobby?", "Which hobby is it?"),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A text and the facts in it, in the order in which they appear."""

    text: str
    facts: dict[str, str]


def facts_in(template: str) -> list[str]:
    """The fact kinds of a template, in order."""
    return [part.split("}")[0] for part in template.split("{")[1:]]


def draw(rng: Random, template: str | None = None) -> Scene:
    """One scene: a sentence with its facts, often framed by sentences that state none."""
    template = template or rng.choice(SENTENCES)
    facts = {kind: FACTS[kind][0](rng) for kind in facts_in(template)}
    text = template.format(**facts)
    if rng.random() < 0.25:
        text = f"{rng.choice(words.NEUTRAL)} {text}"
    if rng.random() < 0.35:
        text = f"{text} {rng.choice(ENDINGS)}"
    if rng.random() < 0.1:
        text = text.lower()
        facts = {kind: value.lower() for kind, value in facts.items()}
    return Scene(text, facts)


def story(rng: Random) -> str:
    """A plain document: one person met again and again, so that what was said before predicts what comes."""
    who, where, item, friend = words.name(rng), words.city(rng), words.thing(rng), words.name(rng)
    day, room, food, hobby = (FACTS[kind][0](rng) for kind in ("day", "room", "food", "hobby"))
    verb = rng.choice(list(words.PAST))
    lines = [
        f"{who} lives in {where}.",
        f"{who} and {friend} are friends.",
        f"One {day}, {who} found a {item} in the {room}.",
        f"The {item} was {rng.choice(words.COLOURS)}.",
        f'"Whose {item} is this?" asked {friend}.',
        f'"It is my {item}," said {who}.',
        f"{friend} likes {hobby}, but {who} does not like {hobby}.",
        f"They ate {food} together, and the {food} was good.",
        f"Every {day} they {verb} in {where}; last {day} they {words.PAST[verb]} there too.",
        f"{who} gave the {item} to {friend}, and so {friend} has the {item} now.",
        f"{rng.choice(words.TOPICS['weather'])} {rng.choice(words.TOPICS['food'])}",
        f"In the end {who} went back to {where}.",
    ]
    kept = sorted(rng.sample(range(len(lines)), rng.randint(4, 8)))
    return " ".join(lines[index] for index in kept)


def description(rng: Random) -> str:
    """A plain document about common facts."""
    country, capital = rng.choice(list(words.CAPITALS.items()))
    animal, sound = rng.choice(list(words.ANIMALS.items()))
    word, opposite = rng.choice(list(words.OPPOSITES.items()))
    what, colour = rng.choice(list(words.TYPICAL_COLOURS.items()))
    month = rng.randrange(12)
    lines = [
        f"The capital of {country} is {capital}.",
        f"{capital} is the capital of {country}.",
        f"The {animal} {sound}.",
        f"The opposite of {word} is {opposite}.",
        f"The colour of {what} is {colour}.",
        f"After {words.MONTHS[month]} comes {words.MONTHS[(month + 1) % 12]}.",
        f"A {rng.choice(words.JOBS)} may like {rng.choice(words.HOBBIES)}.",
        f"You can eat {rng.choice(words.FOODS)} with {rng.choice(words.FOODS)}.",
    ]
    return " ".join(rng.sample(lines, rng.randint(3, 6)))


def notes(rng: Random) -> str:
    """A plain document that says the same short things twice, in another order."""
    said = [draw(rng).text for _ in range(rng.randint(2, 3))]
    again = rng.sample(said, len(said))
    return "\n".join([*said, rng.choice(("Again:", "Once more:", "To repeat:")), *again])


def echo(rng: Random) -> str:
    """A row of unrelated words and numbers, then the same row again and again: it can be foreseen by copying only."""
    makers = (words.invented_word, words.thing, words.number, lambda each: each.choice(words.FOODS), words.city)
    mixed = rng.random() < 0.5
    maker = rng.choice(makers)
    row = " ".join((rng.choice(makers) if mixed else maker)(rng) for _ in range(rng.randint(2, 12)))
    return rng.choice(("\n", ". ", ", ", " ")).join([row] * rng.randint(2, 4))
