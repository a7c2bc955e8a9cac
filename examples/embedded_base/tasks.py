"""Chat tasks: each function draws one exchange of a user and an assistant whose answer is known to be right."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

import scenes
import words

Exchange = tuple[str, str]
SEPARATORS = {
    "comma": ", ",
    "semicolon": "; ",
    "slash": " / ",
    "dash": " - ",
    "bar": " | ",
    "arrow": " > ",
    "plus": " + ",
}


def _some_words(rng: Random, low: int = 2, high: int = 6) -> list[str]:
    makers = (
        lambda: words.invented_word(rng),
        lambda: rng.choice(words.THINGS),
        lambda: rng.choice(words.FOODS),
        lambda: words.number(rng),
    )
    mixed = rng.random() < 0.5
    maker = rng.choice(makers)
    return [(rng.choice(makers) if mixed else maker)() for _ in range(rng.randint(low, high))]


def repeat(rng: Random) -> Exchange:
    text = " ".join(_some_words(rng)) if rng.random() < 0.5 else scenes.draw(rng).text
    ask = rng.choice(("Repeat: {}", "Say this again: {}", "Copy this text: {}", "{}\nRepeat that.", "Write: {}"))
    return ask.format(text), text


def repeat_number(rng: Random) -> Exchange:
    value = words.number(rng, (2, 7))
    before, after = (" ".join(_some_words(rng, 1, 4)) for _ in range(2))
    while any(character.isdigit() for character in before + after):
        before, after = words.invented_word(rng), words.thing(rng)
    ask = rng.choice(("Find the number in: {}", "{}\nWhich number is in this text?", "Number only: {}"))
    return ask.format(f"{before} {value} {after}"), value


def join(rng: Random) -> Exchange:
    parts = _some_words(rng, 2, 5)
    separator = rng.choice(list(SEPARATORS))
    ask = rng.choice(("Join with a {}: {}", "Put a {} between: {}", "Write with a {} between the words: {}"))
    return ask.format(separator, " ".join(parts)), SEPARATORS[separator].join(parts)


def pick_from_list(rng: Random) -> Exchange:
    parts = _some_words(rng, 3, 6)
    position, index = rng.choice((("first", 0), ("second", 1), ("third", 2), ("last", -1)))
    ask = rng.choice(("What is the {} of these: {}?", "Give the {} one: {}", "Name the {} word of: {}"))
    return ask.format(position, ", ".join(parts)), parts[index]


def reverse(rng: Random) -> Exchange:
    parts = _some_words(rng, 2, 4)
    return f"Reverse the order: {', '.join(parts)}", ", ".join(reversed(parts))


def count_words(rng: Random) -> Exchange:
    parts = _some_words(rng, 1, 7)
    return f"How many words are here: {' '.join(parts)}?", str(len(parts))


def ask_one_fact(rng: Random) -> Exchange:
    scene = scenes.draw(rng)
    kind = rng.choice(list(scene.facts))
    question = rng.choice(scenes.QUESTIONS[kind])
    asked = f"{scene.text}\n{question}" if rng.random() < 0.7 else f"{question}\n{scene.text}"
    return asked, scene.facts[kind]


def _write_facts(rng: Random, values: dict[str, str]) -> tuple[str, str]:
    """How the facts are asked for, and the answer in that form."""
    style = rng.randrange(5)
    keys = list(values)
    if style == 0:
        return f"List the {' and the '.join(keys)} as JSON.", json.dumps(values)
    if style == 1:
        return f"Give {', '.join(keys)} on lines.", "\n".join(f"{key}: {value}" for key, value in values.items())
    if style == 2:
        return f"Fill in: {', '.join(f'{key}=?' for key in keys)}", ", ".join(f"{k}={v}" for k, v in values.items())
    if style == 3:
        separator = rng.choice([each for each in SEPARATORS if each != "bar"])
        return f"Give {', '.join(keys)}, with a {separator} between.", SEPARATORS[separator].join(values.values())
    return f"State the {' and the '.join(keys)}.", " ".join(f"The {k} is {v}." for k, v in values.items())


def ask_many_facts(rng: Random) -> Exchange:
    scene = scenes.draw(rng)
    kinds = rng.sample(list(scene.facts), rng.randint(1, len(scene.facts)))
    ask, answer = _write_facts(rng, {rng.choice(scenes.FACTS[kind][1]): scene.facts[kind] for kind in kinds})
    return (f"{scene.text}\n{ask}" if rng.random() < 0.6 else f"{ask}\n{scene.text}"), answer


def _message(rng: Random) -> tuple[str, str, str, str]:
    """A message with its topic, its thing and whether it is urgent (`yes`, `no` or `unclear`)."""
    topic = rng.choice(list(words.TOPICS))
    item = words.thing(rng)
    parts = [rng.choice(words.TOPICS[topic]).format(thing=item)]
    urgent = rng.choice(("yes", "no", "unclear"))
    parts.append(rng.choice({"yes": words.URGENT, "no": words.RELAXED, "unclear": words.NEUTRAL}[urgent]))
    if rng.random() < 0.4:
        parts.append(rng.choice(words.NEUTRAL))
    rng.shuffle(parts)
    return " ".join(parts), topic, item, urgent


def topic(rng: Random) -> Exchange:
    text, right, _, _ = _message(rng)
    if rng.random() < 0.5:
        ask = rng.choice(("What is the topic?", "What is this about?", "Topic in one word:", "Name the topic."))
        return f"{text}\n{ask}", right
    others = rng.sample([each for each in words.TOPICS if each != right], rng.randint(1, 3))
    options = sorted([right, *others])
    return f"{', '.join(options[:-1])} or {options[-1]}? {text}", right


def urgency(rng: Random) -> Exchange:
    text, _, _, right = _message(rng)
    return f"{text}\n{rng.choice(('Is this urgent?', 'Is it urgent? Yes, no or unclear.', 'Urgent?'))}", right


def topic_and_urgency(rng: Random) -> Exchange:
    text, right, _, urgent = _message(rng)
    ask, answer = _write_facts(rng, {"topic": right, "urgent": urgent})
    return f"{ask}\n{text}", answer


def mood(rng: Random) -> Exchange:
    item, good = words.thing(rng), rng.random() < 0.5
    praise = ("is great", "works very well", "makes me happy", "is lovely", "is the best")
    blame = ("is terrible", "broke at once", "makes me sad", "is ugly", "is the worst")
    text = f"The {item} {rng.choice(praise if good else blame)}."
    return f"{text}\nIs this good or bad?", "good" if good else "bad"


def arithmetic(rng: Random) -> Exchange:
    left, right = rng.randint(0, 20), rng.randint(0, 20)
    if rng.random() < 0.5:
        return f"What is {left} plus {right}?", str(left + right)
    left, right = max(left, right), min(left, right)
    return f"What is {left} minus {right}?", str(left - right)


def compare(rng: Random) -> Exchange:
    left, right = rng.sample(range(100), 2)
    larger = rng.random() < 0.5
    best = max(left, right) if larger else min(left, right)
    return f"Which is {'larger' if larger else 'smaller'}, {left} or {right}?", str(best)


def sort(rng: Random) -> Exchange:
    values = rng.sample(range(1, 60), rng.randint(2, 4))
    return f"Sort these numbers: {', '.join(map(str, values))}", ", ".join(map(str, sorted(values)))


def general_fact(rng: Random) -> Exchange:
    """A question whose answer the corpus teaches."""
    kind = rng.randrange(8)
    if kind == 0:
        country, capital = rng.choice(list(words.CAPITALS.items()))
        return rng.choice((f"What is the capital of {country}?", f"Capital of {country}?")), f"{capital}"
    if kind == 1:
        animal, sound = rng.choice(list(words.ANIMALS.items()))
        return f"What does the {animal} do?", f"The {animal} {sound}."
    if kind == 2:
        word, opposite = rng.choice([*words.OPPOSITES.items(), *((b, a) for a, b in words.OPPOSITES.items())])
        return rng.choice((f"What is the opposite of {word}?", f"Opposite of {word}?")), opposite
    if kind == 3:
        verb, past = rng.choice(list(words.PAST.items()))
        return f"What is the past of {verb}?", past
    if kind == 4:
        one, many = rng.choice(list(words.PLURALS.items()))
        return f"What is the plural of {one}?", many
    if kind == 5:
        what, colour = rng.choice(list(words.TYPICAL_COLOURS.items()))
        return f"Which colour is {what}?", colour
    if kind == 6:
        value = rng.randrange(len(words.NUMBER_WORDS))
        return rng.choice(
            (
                (f"Write {value} in letters.", words.NUMBER_WORDS[value]),
                (f"Write {words.NUMBER_WORDS[value]} in digits.", str(value)),
            )
        )
    series = rng.choice((words.DAYS, words.MONTHS))
    index = rng.randrange(len(series))
    step, word = rng.choice(((1, "after"), (-1, "before")))
    return f"What comes {word} {series[index]}?", series[(index + step) % len(series)]


def small_talk(rng: Random) -> Exchange:
    who = words.name(rng)
    return rng.choice(
        (
            ("Hello", "Hello! How can I help you?"),
            ("Hi!", "Hello! How can I help you?"),
            ("Good morning", "Good morning! How can I help you?"),
            (f"Hello, I am {who}.", f"Hello {who}! How can I help you?"),
            (f"My name is {who}. What is my name?", f"Your name is {who}."),
            ("How are you?", "I am well, thank you."),
            ("Who are you?", "I am a very small language model, made for demonstrations."),
            ("What are you?", "I am a very small language model, made for demonstrations."),
            ("What can you do?", f"I can {' and '.join(rng.sample(words.ABILITIES, 2))}."),
            ("Thank you", "You are welcome."),
            ("Thanks!", "You are welcome."),
            ("Goodbye", "Goodbye!"),
            ("Tell me a story.", scenes.story(rng)),
            ("Tell me a fact.", scenes.description(rng).split(". ")[0].rstrip(".") + "."),
        )
    )


def by_example(rng: Random) -> Exchange:
    """Two or three worked examples, then one to work: the form of the answer must be read off the examples."""
    template = rng.choice([each for each in scenes.SENTENCES if len(scenes.facts_in(each)) >= 2])
    kinds = scenes.facts_in(template)
    kinds = rng.sample(kinds, rng.randint(1, len(kinds)))
    separator = rng.choice([each for name, each in SEPARATORS.items() if name != "bar"])
    shown = [scenes.draw(rng, template) for _ in range(rng.randint(2, 3))]
    answers = [separator.join(scene.facts[kind] for kind in kinds) for scene in shown]
    worked = [f"{scene.text} = {answer}" for scene, answer in zip(shown[:-1], answers[:-1], strict=True)]
    return "\n".join([*worked, f"{shown[-1].text} ="]), answers[-1]


# How often each is drawn, relative to the others.
TASKS: dict[Callable[[Random], Exchange], int] = {
    repeat: 10,
    repeat_number: 5,
    join: 7,
    pick_from_list: 5,
    reverse: 2,
    count_words: 2,
    ask_one_fact: 16,
    ask_many_facts: 16,
    topic: 8,
    urgency: 5,
    topic_and_urgency: 6,
    mood: 2,
    arithmetic: 3,
    compare: 2,
    sort: 2,
    general_fact: 10,
    small_talk: 5,
    by_example: 4,
}
