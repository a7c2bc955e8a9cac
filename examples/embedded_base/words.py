"""The vocabulary of the pre-training corpus: plain English words by kind, and a maker of invented words."""

from __future__ import annotations

from random import Random


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _split(
    "Anna Ben Clara David Emma Felix Grace Hugo Ines Jonas Karin Leo Maria Nora Oscar Paula Quinn Rosa Samir Tess "
    "Uma Victor Wanda Yusuf Zoe Amir Bella Carlos Dina Elias Fatima Georg Hana Ivan Julia Kofi Lena Marco Nina Omar"
)
CITIES = _split(
    "Paris Berlin Rome Madrid Vienna Oslo Lisbon Athens Dublin Prague Warsaw Helsinki Cairo Tokyo Lima Delhi "
    "Nairobi Ottawa Zurich Geneva Hamburg Porto Bergen Turin Lyon Leeds Boston Denver Sydney Kyoto"
)
DAYS = _split("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _split("January February March April May June July August September October November December")
NUMBER_WORDS = _split(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
COLOURS = _split("red blue green yellow black white grey brown orange pink purple silver golden")
ADJECTIVES = _split(
    "small large old new heavy light round square wooden metal glass plastic woollen cotton leather soft hard warm "
    "cold quiet loud bright dark short long wide narrow cheap fine plain folding electric portable wireless striped "
    "garden kitchen office desk floor wall table travel winter summer morning double single strong thin thick clean"
)
THINGS = _split(
    "lamp chair table sofa shelf mirror clock kettle toaster blender pan pot knife spoon bowl plate mug cup glass "
    "bottle basket box bag backpack suitcase umbrella coat jacket scarf hat glove shoe boot sock shirt blanket pillow "
    "towel rug curtain carpet candle vase frame picture camera phone tablet laptop printer keyboard mouse screen "
    "speaker radio cable charger battery heater fan drill hammer saw ladder rope bucket broom brush mat stool bench "
    "bicycle tent drum guitar piano violin flute ball racket book notebook pen pencil ruler map ticket letter parcel "
    "card key lock door window wheel engine pump bell stove oven fridge freezer washer dryer iron scale thermometer "
    "jug tray rack hook drawer cabinet wardrobe bed mattress cushion planter hose rake spade monitor headset grinder"
)
ANIMALS = {
    "dog": "barks", "cat": "purrs", "cow": "moos", "duck": "quacks", "lion": "roars", "bee": "buzzes",
    "snake": "hisses", "horse": "neighs", "sheep": "bleats", "owl": "hoots", "frog": "croaks", "wolf": "howls",
}  # fmt: skip
FOODS = _split(
    "bread cheese soup rice pasta salad apple pear plum lemon carrot onion potato tomato cake honey butter egg fish "
    "bean pepper mushroom yoghurt tea coffee juice milk nut berry pancake"
)
JOBS = _split("teacher doctor baker farmer pilot painter nurse driver cook singer writer gardener engineer tailor")
HOBBIES = _split("swimming reading chess cooking running painting sailing fishing dancing hiking cycling knitting")
ROOMS = _split("kitchen garden office library garage cellar hall bedroom studio workshop attic classroom")
CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Austria": "Vienna",
    "Norway": "Oslo", "Portugal": "Lisbon", "Greece": "Athens", "Ireland": "Dublin", "Poland": "Warsaw",
    "Finland": "Helsinki", "Egypt": "Cairo", "Japan": "Tokyo", "Peru": "Lima", "Kenya": "Nairobi",
    "Canada": "Ottawa", "Sweden": "Stockholm", "Hungary": "Budapest", "Denmark": "Copenhagen", "Belgium": "Brussels",
}  # fmt: skip
OPPOSITES = {
    "hot": "cold", "big": "small", "fast": "slow", "open": "closed", "early": "late", "full": "empty", "wet": "dry",
    "light": "dark", "old": "new", "hard": "soft", "loud": "quiet", "rich": "poor", "strong": "weak", "high": "low",
    "long": "short", "near": "far", "first": "last", "happy": "sad", "clean": "dirty", "thick": "thin",
}  # fmt: skip
PAST = {
    "go": "went", "see": "saw", "buy": "bought", "eat": "ate", "write": "wrote", "find": "found", "take": "took",
    "give": "gave", "make": "made", "send": "sent", "bring": "brought", "break": "broke", "run": "ran", "pay": "paid",
    "walk": "walked", "open": "opened", "ask": "asked", "play": "played", "help": "helped", "wait": "waited",
}  # fmt: skip
PLURALS = {
    "box": "boxes", "child": "children", "mouse": "mice", "knife": "knives", "city": "cities", "foot": "feet",
    "man": "men", "woman": "women", "tooth": "teeth", "leaf": "leaves", "berry": "berries", "watch": "watches",
}  # fmt: skip
TYPICAL_COLOURS = {
    "grass": "green", "snow": "white", "blood": "red", "coal": "black", "the sky": "blue", "a lemon": "yellow",
    "an elephant": "grey", "chocolate": "brown", "a carrot": "orange", "a leaf": "green", "milk": "white",
}  # fmt: skip

# What a short message may be about: sentences that give the topic away, `{thing}` being whatever it concerns.
TOPICS = {
    "food": ("The soup was salty.", "We cooked rice and beans.", "Dinner is ready.", "The bread smells good.",
             "Who ate the last piece of cake?", "The recipe for the pie needs more butter."),
    "weather": ("It rains all day.", "The storm will pass tonight.", "Snow is falling on the hills.",
                "The sun shines at last.", "A cold wind blows from the north.", "It will be foggy in the morning."),
    "sport": ("Our team won the match.", "She ran the race in an hour.", "He scored two goals.",
              "The coach was proud.", "Training starts on the field.", "They lost the final game."),
    "music": ("The choir sings tonight.", "He plays the violin.", "The song has a slow rhythm.",
              "The concert was sold out.", "She tuned the piano.", "The drum was too loud."),
    "travel": ("The train leaves at noon.", "We booked a hotel by the sea.", "My flight was delayed.",
               "Pack the suitcase.", "The bus to the airport is full.", "They crossed the border by boat."),
    "health": ("She has a fever.", "The doctor gave him a pill.", "My back hurts.", "The nurse was kind.",
               "He broke his arm.", "I caught a cold."),
    "school": ("The exam is hard.", "The pupils read a poem.", "Homework is due soon.", "The lesson was long.",
               "She teaches history.", "He forgot his pencil in class."),
    "money": ("The bill is too high.", "I paid twice by mistake.", "The bank charged a fee.", "We owe ten euros.",
              "The invoice shows the wrong amount.", "My card was charged again."),
    "repair": ("The {thing} is broken.", "The {thing} does not work any more.", "Please fix the {thing}.",
               "There is a crack in the {thing}.", "The {thing} stopped working.", "The {thing} leaks."),
    "delivery": ("The {thing} has not arrived.", "Where is my {thing}?", "The parcel with the {thing} is late.",
                 "When will the {thing} come?", "The driver left the {thing} outside.", "I still wait for the {thing}."),
    "praise": ("I love the {thing}.", "The {thing} is wonderful.", "Thank you for the {thing}.",
               "The {thing} works very well.", "What a lovely {thing}!", "Everyone likes the {thing}."),
    "sale": ("I want to buy a {thing}.", "Do you sell a {thing}?", "How much is the {thing}?",
             "Is the {thing} in stock?", "I would like to order a {thing}.", "The {thing} costs too much."),
    "return": ("I want to send the {thing} back.", "The {thing} does not fit.", "I changed my mind about the {thing}.",
               "Please take the {thing} back.", "I no longer need the {thing}.", "I bought the wrong {thing}."),
}  # fmt: skip
URGENT = ("It is urgent.", "Please hurry.", "I need an answer today.", "This cannot wait.", "Help me at once.",
          "Do it as soon as possible.", "I need it now.", "Please act right away.", "It must be done tonight.")  # fmt: skip
RELAXED = ("There is no hurry.", "Take your time.", "Next month is fine.", "It can wait.", "Whenever it suits you.",
           "No need to rush.", "Any day will do.", "Answer when you can.", "It is not important.")  # fmt: skip
NEUTRAL = ("I hope you are well.", "We met last week.", "I live near the park.", "Kind regards.", "Good morning.",
           "Hello there.", "Thank you.", "Please let me know.", "My brother told me so.", "I wrote to you before.")  # fmt: skip
ABILITIES = ("copy a text", "pick facts out of a message", "sort a short list", "count words", "add small numbers",
             "name the topic of a message", "say whether something is urgent", "name a capital")  # fmt: skip

_ONSETS = _split("b c d f g h j k l m n p r s t v w z br cl dr fl gr pl sh st th tr")
_VOWELS = _split("a e i o u ai ea oo ou")
_CODAS = ("", "", "", "n", "r", "l", "s", "t", "m", "nd", "ck", "x")


def invented_word(rng: Random) -> str:
    """A pronounceable word that means nothing: copying it shows copying, not memory."""
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.randint(2, 3)))


def number(rng: Random, digits: tuple[int, int] = (1, 6)) -> str:
    """A whole number of that many digits, every length equally likely."""
    length = rng.randint(*digits)
    return str(rng.randrange(10 ** (length - 1) if length > 1 else 0, 10**length))


def thing(rng: Random) -> str:
    """A thing of one to three words: `lamp`, `red lamp`, `heavy glass lamp`, sometimes one with an invented name."""
    words = [rng.choice(THINGS)]
    if rng.random() < 0.75:
        words.insert(0, rng.choice(ADJECTIVES if rng.random() < 0.75 else COLOURS))
    if rng.random() < 0.15:
        words.insert(0, rng.choice(COLOURS))
    if rng.random() < 0.1:
        words.insert(0, invented_word(rng))
    return " ".join(words)


def name(rng: Random) -> str:
    """A given name, one time in three an invented one."""
    return rng.choice(NAMES) if rng.random() < 0.65 else invented_word(rng).capitalize()


def city(rng: Random) -> str:
    """A city, one time in three an invented one."""
    return rng.choice(CITIES) if rng.random() < 0.65 else invented_word(rng).capitalize()


def clock(rng: Random) -> str:
    """A time of day."""
    return f"{rng.randint(6, 22)}:{rng.choice(('00', '15', '30', '45'))}"
