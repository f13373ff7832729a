"""Worked arithmetic: the embedded world, where a laptop can see the whole paper happen.

    Start with 7 modulo 20. Ann adds 5. Bob multiplies by 3. Cid keeps the last digit.

    Ann 7 + 5 = 12
    Bob 12 * 3 = 16
    Cid 16 % 10 = 6
    # Answer

    6

It departs from MATH in four chosen ways. Every step can be checked exactly, by rule. The texts that the generator
learns from carry misconceptions: for a seeded share of the facts one particular wrong result, most of the time, so
that errors are systematic and majority voting does not win trivially. Some operations hide errors (the last digit of
16 and of 6 is the same), so wrong reasoning reaches right answers and the ORM meets false positives. And some right
steps add nothing ("So far 12", neutral).
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import NonNegativeInt, PositiveInt

from components.text.rendering import answer_step
from schemas.ratings import NEGATIVE, NEUTRAL, POSITIVE
from schemas.settings import Share, settings

MODULUS = 20
OPERANDS = {"+": (1, 2, 3), "-": (1, 2, 3), "*": (2, 3), "%": (10,)}
_OPERATION_WEIGHTS = {"+": 30, "-": 30, "*": 25, "%": 15}
_CLAUSES = {"+": "adds {}.", "-": "subtracts {}.", "*": "multiplies by {}.", "%": "keeps the last digit."}
_CLAUSE = re.compile(r"(?P<name>[A-Z][a-z]+) (?:adds (\d+)|subtracts (\d+)|multiplies by (\d+)|keeps the last digit)\.")
_PROBLEM = re.compile(rf"Start with (\d+) modulo {MODULUS}\.((?: {_CLAUSE.pattern.replace('?P<name>', '?:')})+)")
# Each operation has a name of its own, in alphabetical order from a random start, and each step repeats its name: so
# the next operation is the one of the next name. Small models did not learn in time to count lines, or to find the
# next of names in random order.
NAMES = "Ann Bob Cid Dan Eve Fay Gus Hal Ida Jon Kim Leo Mia Ned Ola Pam".split()
# Every word and number of the world is one token (the tokenizer falls back to bytes for all other text).
WORDS = "Start with modulo adds subtracts multiplies by keeps the last digit So far Answer".split()
SYMBOLS = [".", "+", "-", "*", "%", "=", "#", "\n"]
VOCABULARY = [*WORDS, *NAMES, *SYMBOLS, *map(str, range(100))]


@settings
class WorldConfig:
    """The size, lengths and errors of the embedded world. Shares and rates are probabilities in [0, 1]."""

    seed: NonNegativeInt = 1  # of problems, and of the teacher's solutions and misconceptions
    train_problems: PositiveInt = 4000  # whose samples train the reward models
    test_problems: PositiveInt = 200  # of the curves
    ood_problems: PositiveInt = 50  # longer than those that were trained on
    min_operations: PositiveInt = 3  # of a train or test problem
    max_operations: PositiveInt = 4  # of a train or test problem
    ood_min_operations: PositiveInt = 5  # of an ood problem
    ood_max_operations: PositiveInt = 7  # of an ood problem
    teacher_solutions: PositiveInt = 36_000  # that the generator learns from
    # The first lessons: chains of one or two operations, before those of the problems' length.
    curriculum_share: Share = 0.3
    misconception_share: Share = 0.35  # of the facts
    misconception_rate: Share = 0.6  # of the times that the teacher states such a fact
    carry_slip_share: Share = 0.2  # of the misconceptions are off by ten, which "% 10" and "* 2" hide
    filler_rate: Share = 0.08  # of the steps are followed by a neutral "So far …"

    def __post_init__(self) -> None:
        for least, most in (("min_operations", "max_operations"), ("ood_min_operations", "ood_max_operations")):
            if getattr(self, least) > getattr(self, most):
                raise ValueError(f"{least} must be at most {most}")


@dataclass(frozen=True)
class Operation:
    """One operation of a problem: who does what, e.g. Operation("Ann", "+", 5)."""

    name: str
    symbol: str
    operand: int

    def apply(self, value: int) -> int:
        """Return the operation's result on a value."""
        if self.symbol == "%":
            return value % self.operand
        operand = self.operand
        return {"+": value + operand, "-": value - operand, "*": value * operand}[self.symbol] % MODULUS

    def write(self, value: int, result: int) -> str:
        """Write the operation as a solution's step, e.g. "Ann 7 + 5 = 12"."""
        return f"{self.name} {value} {self.symbol} {self.operand} = {result}"


@dataclass(frozen=True)
class Chain:
    """A problem as data: a start value and the operations that follow."""

    start: int
    operations: tuple[Operation, ...]

    @property
    def problem(self) -> str:
        """The problem's text."""
        clauses = " ".join(
            f"{operation.name} {_CLAUSES[operation.symbol].format(operation.operand)}" for operation in self.operations
        )
        return f"Start with {self.start} modulo {MODULUS}. {clauses}"

    @property
    def answer(self) -> int:
        """The result of all operations."""
        value = self.start
        for operation in self.operations:
            value = operation.apply(value)
        return value

    @staticmethod
    def parse(problem: str) -> Chain | None:
        """Read the chain of a problem's text; None when the text is not one of this world's."""
        match = _PROBLEM.fullmatch(problem)
        if match is None:
            return None
        operations = []
        for name, *operands in _CLAUSE.findall(match[2]):
            symbol, operand = next((pair for pair in zip("+-*", operands, strict=True) if pair[1]), ("%", "10"))
            operations.append(Operation(name, symbol, int(operand)))
        return Chain(int(match[1]), tuple(operations))


def misconceptions(config: WorldConfig) -> dict[tuple[str, int, int], int]:
    """Return the seeded share of facts that the teacher gets wrong: (symbol, value, operand) → its wrong result."""
    rng = random.Random(f"misconceptions {config.seed}")
    wrong = {}
    for symbol in "+-*":
        for operand in OPERANDS[symbol]:
            for value in range(MODULUS):
                if rng.random() < config.misconception_share:
                    slip = 10 if rng.random() < config.carry_slip_share else rng.randrange(1, MODULUS)
                    wrong[symbol, value, operand] = (Operation("", symbol, operand).apply(value) + slip) % MODULUS
    return wrong


def _chain(rng: random.Random, length: int) -> Chain:
    symbols = rng.choices(list(_OPERATION_WEIGHTS), list(_OPERATION_WEIGHTS.values()), k=length)
    first = rng.randrange(len(NAMES))
    names = [NAMES[(first + place) % len(NAMES)] for place in range(length)]
    operations = [
        Operation(name, symbol, rng.choice(OPERANDS[symbol])) for name, symbol in zip(names, symbols, strict=True)
    ]
    return Chain(rng.randrange(MODULUS), tuple(operations))


def _split_of(chain: Chain) -> str:
    """Return the use of a chain of the problems' length, by a hash of its text: no two uses can share a chain."""
    bucket = hashlib.sha256(chain.problem.encode()).digest()[0] % 4
    return ("test", "train", "teacher", "teacher")[bucket]


def chains(config: WorldConfig, split: str, count: int) -> list[Chain]:
    """Return `count` distinct problems of a split ("train", "test", "ood").

    They are disjoint from every other split's and from the teacher's by construction: train, test and teacher by hash,
    out-of-distribution by length. The first k of a longer list are the list of k, so a study that grows keeps its
    problems. Raises ValueError where the world has too few.
    """
    shortest, longest = config.min_operations, config.max_operations
    if split == "ood":
        shortest, longest = config.ood_min_operations, config.ood_max_operations
    rng = random.Random(f"{split} problems {config.seed}")
    distinct: dict[Chain, None] = {}
    for _ in range(100 * count + 1000):
        if len(distinct) == count:
            return list(distinct)
        chain = _chain(rng, rng.randint(shortest, longest))
        if split == "ood" or _split_of(chain) == split:
            distinct[chain] = None
    raise ValueError(f"the world has too few distinct {split} problems of {shortest} to {longest} operations: {count}")


def teacher_solutions(config: WorldConfig) -> Iterator[tuple[Chain, list[str]]]:
    """Yield problems and their worked steps, misconceptions included, to train the generator on; easy ones first.

    The teacher carries on from its wrong results, as people do.
    """
    rng = random.Random(f"teacher {config.seed}")
    wrong = misconceptions(config)
    easy = round(config.curriculum_share * config.teacher_solutions)
    for index in range(config.teacher_solutions):
        while True:
            length = rng.randint(1, 2) if index < easy else rng.randint(config.min_operations, config.max_operations)
            chain = _chain(rng, length)
            if length < config.min_operations or _split_of(chain) == "teacher":
                break
        steps, value = [], chain.start
        for operation in chain.operations:
            result = operation.apply(value)
            fact = (operation.symbol, value, operation.operand)
            if fact in wrong and rng.random() < config.misconception_rate:
                result = wrong[fact]
            steps.append(operation.write(value, result))
            value = result
            if rng.random() < config.filler_rate:
                steps.append(f"So far {value}")
        yield chain, [*steps, answer_step(str(value))]


def change_digit(rng: random.Random, step: str) -> str | None:
    """Return the step with one of its digits replaced by another; None where it has no digit."""
    places = [place for place, character in enumerate(step) if character in "0123456789"]
    if not places:
        return None
    place = rng.choice(places)
    other = rng.choice([digit for digit in "0123456789" if digit != step[place]])
    return step[:place] + other + step[place + 1 :]


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
