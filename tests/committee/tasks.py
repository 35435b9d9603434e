"""Generated tasks with checkable answers: one line each, `Word question=answer`.

The committee is trained on them (train.py), and tests ask it the questions that training never saw: a question is held out
when its CRC says so, so both sides agree without a list.
"""
import datetime
import random
import zlib

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAIRS = {"(": ")", "[": "]", "{": "}"}


def word(rng, low, high):
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(low, high)))


def sum_(rng):
    a, b = rng.randrange(100), rng.randrange(100)
    return f"{a}+{b}", str(a + b)


def sort(rng):
    letters = word(rng, 3, 6)
    return letters, "".join(sorted(letters))


def reverse(rng):
    letters = word(rng, 3, 7)
    return letters, letters[::-1]


def date(rng):
    """The day after."""
    day = datetime.date(rng.randint(1950, 2049), rng.randint(1, 12), rng.randint(1, 28))
    if rng.random() < 0.4:  # the last days of a month are what there is to know
        day = day.replace(day=28)
        last = (day + datetime.timedelta(4)).replace(day=1) - datetime.timedelta(1)
        day = rng.choice([day, last, last])
    return day.isoformat(), (day + datetime.timedelta(1)).isoformat()


def close(rng):
    """The brackets that are still open."""
    text, stack = "", []
    for _ in range(rng.randint(2, 7)):
        if stack and rng.random() < 0.25:
            text += PAIRS[stack.pop()]
        else:
            stack.append(rng.choice("([{"))
            text += stack[-1]
    if not stack:
        return close(rng)
    return text, "".join(PAIRS[b] for b in reversed(stack))


def recall(rng):
    """The pairs of some keys, in the order they are asked for."""
    keys = rng.sample(LETTERS, rng.randint(3, 6))
    pairs = {key: key + str(rng.randrange(10)) for key in keys}
    asked = rng.sample(keys, rng.randint(1, 3))
    return " ".join(pairs[key] for key in keys) + " " + "".join(asked), "".join(pairs[key] for key in asked)


def maximum(rng):
    numbers = [rng.randrange(100) for _ in range(rng.randint(3, 6))]
    return " ".join(map(str, numbers)), str(max(numbers))


def shift(rng):
    """The next letter of the alphabet, for each."""
    letters = word(rng, 3, 7)
    return letters, "".join(LETTERS[(LETTERS.index(c) + 1) % 26] for c in letters)


TASKS = {"Sum": sum_, "Sort": sort, "Reverse": reverse, "Date": date, "Close": close, "Recall": recall, "Max": maximum,
         "Shift": shift}


def held_out(question):
    return zlib.crc32(question.encode()) % 8 == 0


def example(name, rng, test=False):
    """(question, answer); of the held-out questions or of the others."""
    while True:
        asked, answer = TASKS[name](rng)
        question = f"{name} {asked}="
        if held_out(question) == test:
            return question, answer


def questions(count, seed=7):
    """`count` distinct held-out (task, question, answer) of every task."""
    rng = random.Random(seed)
    out = []
    for name in TASKS:
        seen = {}
        while len(seen) < count:
            question, answer = example(name, rng, test=True)
            seen[question] = answer
        out += [(name, question, answer) for question, answer in seen.items()]
    return out
