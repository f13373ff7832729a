"""The exact rule of worked arithmetic: what each step of a solution states, and whether it is right."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from components.text.rendering import answer_step
from components.worlds.worked_arithmetic import NAMES, Chain, Operation, misread
from schemas.ratings import NEGATIVE, NEUTRAL, POSITIVE

_STEP = re.compile(r"(?P<name>[A-Z][a-z]+) (?P<value>\d+) (?P<symbol>[-+*%]) (?P<operand>\d+) = (?P<result>\d+)")


def fact_of(step: str) -> str:
    """Return what a step states, without who does it: "7 + 5 = 12" of "Ann 7 + 5 = 12"; other steps as they are."""
    return step.split(" ", 1)[1] if step.startswith(tuple(f"{name} " for name in NAMES)) else step


def change_digit(rng: random.Random, step: str) -> str | None:
    """Return the step with one of its digits replaced by another; None where it has no digit."""
    places = [place for place, character in enumerate(step) if character in "0123456789"]
    if not places:
        return None
    place = rng.choice(places)
    other = rng.choice([digit for digit in "0123456789" if digit != step[place]])
    return step[:place] + other + step[place + 1 :]


def misread_step(rng: random.Random, step: str) -> str | None:
    """Return the step with another operand or operation, and the result that follows from it; None where that cannot
    be."""
    match = _STEP.fullmatch(step)
    if match is None:
        return None
    changed = misread(rng, Operation(match["name"], match["symbol"], int(match["operand"])))
    value = int(match["value"])
    return None if changed is None else changed.write(value, changed.apply(value))


def statements(problem: str, steps: Sequence[str]) -> list[str]:
    """Return what a solution states, in words that can be counted: the fact of each step, and each departure from the
    problem or from the step before. Whether a fact is right is not said.

    >>> statements("Start with 7 modulo 20. Ann adds 3.", ["Ann 7 + 2 = 9"])
    ['7 + 2 = 9', 'not what the problem says', 'no answer']
    """
    chain = Chain.parse(problem)
    if chain is None:
        return [fact_of(step) for step in steps]
    said, turn, value, answered = [], 0, str(chain.start), False
    for step in steps:
        match = _STEP.fullmatch(step)
        last = step.rpartition(" ")[2].rpartition("\n")[2]
        if match is not None:
            said.append(fact_of(step))
            asked = chain.operations[turn] if turn < len(chain.operations) else None
            if asked is None or match.group("name", "symbol", "operand") != (
                asked.name, asked.symbol, str(asked.operand),
            ):  # fmt: skip
                said.append("not what the problem says")
            said += ["not the value before"] if match["value"] != value else []
            turn, value = turn + 1, match["result"]
        else:
            answered = step.startswith(answer_step("").rstrip())
            said += ["not the value before"] if last != value else []
    said += ["a turn left out"] if turn < len(chain.operations) else []
    return said + ([] if answered else ["no answer"])


def rate_steps(problem: str, steps: Sequence[str]) -> list[int] | None:
    r"""Rate steps through the first wrong one (PRM800K's meaning): −1 wrong, 0 right but adds nothing, +1 right.

    Returns at most one rating per step, fewer when a step is wrong; None when the problem is not of this world.

    >>> rate_steps("Start with 7 modulo 20. Ann adds 5.", ["Ann 7 + 5 = 12", "So far 12", "# Answer\n\n13"])
    [1, 0, -1]
    """
    chain = Chain.parse(problem)
    if chain is None:
        return None
    ratings: list[int] = []
    value, done, last_step = chain.start, 0, None
    for step in steps:
        rating = NEGATIVE
        if done < len(chain.operations):
            result = chain.operations[done].apply(value)
            if step == chain.operations[done].write(value, result):
                rating, value, done, last_step = POSITIVE, result, done + 1, step
        if rating == NEGATIVE and (step == f"So far {value}" or step == last_step):
            rating = NEUTRAL
        if done == len(chain.operations) and step == answer_step(str(value)):
            rating = POSITIVE
        ratings.append(rating)
        if rating == NEGATIVE:
            break
    return ratings
