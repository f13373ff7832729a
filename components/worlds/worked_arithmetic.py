"""Worked arithmetic: the embedded world, where a laptop can see the whole paper happen.

    Start with 7 modulo 20. Ann adds 2. Bob multiplies by 2. Cid keeps the last digit.

    Ann 7 + 2 = 9
    Bob 9 * 2 = 18
    Cid 18 % 10 = 8
    # Answer

    8

It departs from MATH in six chosen ways. Every step can be checked exactly, by rule (`worked_steps.py`). The texts that
the generator learns from carry misconceptions: of a seeded share of the kinds of facts a wrong result, most of the
time, so that errors are systematic and majority voting does not win trivially. A kind is an operation with its operand
on values of one last digit. Other steps are misread: their arithmetic is right, but the problem says another operand or
operation, so a verifier must read the problem, and memory of right steps alone does not help. Some operations hide
errors (the last digit of 16 and of 6 is the same), so wrong reasoning reaches right answers and the ORM meets false
positives. Some right steps add nothing ("So far 12", neutral). And some kinds of facts are in no train or test problem:
the problems of the split new_facts ask for them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import NonNegativeInt, PositiveInt

from components.text.rendering import answer_step
from schemas.settings import Share, settings

MODULUS = 20
OPERANDS = {"+": (1, 2, 3), "-": (1, 2, 3), "*": (2, 3), "%": (10,)}
_OPERATION_WEIGHTS = {"+": 30, "-": 30, "*": 20, "%": 20}
_SLIPS = (-3, -2, -1, 1, 2, 3)  # of a misconception, or ±10
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
    train_problems: PositiveInt = 8000  # whose samples train the reward models
    test_problems: PositiveInt = 200  # of the curves
    ood_problems: PositiveInt = 50  # longer than those that were trained on
    new_facts_problems: PositiveInt = 100  # each with a kind of fact that no train or test problem has
    min_operations: PositiveInt = 3  # of a problem that is not ood
    max_operations: PositiveInt = 4  # of a problem that is not ood
    ood_min_operations: PositiveInt = 5  # of an ood problem
    ood_max_operations: PositiveInt = 7  # of an ood problem
    teacher_solutions: PositiveInt = 36_000  # that the generator learns from
    # The first lessons: chains of one or two operations, before those of the problems' length.
    curriculum_share: Share = 0.3
    misconception_share: Share = 0.2  # of the kinds of facts
    misconception_rate: Share = 0.6  # of the times that the teacher states such a fact
    carry_slip_share: Share = 0.4  # of the misconceptions are off by ten, which "% 10" hides
    # Of the teacher's steps but "%" have another operand or operation than the problem.
    misreading_rate: Share = 0.12
    filler_rate: Share = 0.08  # of the steps are followed by a neutral "So far …"
    new_facts_share: Share = 0.08  # of the kinds of facts are in the problems of new_facts alone

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

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of facts on the way to the answer."""
        values = [self.start]
        for operation in self.operations:
            values.append(operation.apply(values[-1]))
        return [kind_of(operation, value) for operation, value in zip(self.operations, values, strict=False)]

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


Kind = tuple[str, int, int]  # a kind of fact: symbol, operand, last digit of the value
_KINDS: tuple[Kind, ...] = tuple(
    (symbol, operand, digit) for symbol in "+-*" for operand in OPERANDS[symbol] for digit in range(10)
)


def kind_of(operation: Operation, value: int) -> Kind:
    """Return the kind of fact that an operation on a value is."""
    return operation.symbol, operation.operand, value % 10


def misconceptions(config: WorldConfig) -> dict[Kind, int]:
    """Return the seeded share of the kinds of facts that the teacher gets wrong, and by how much."""
    rng = random.Random(f"misconceptions {config.seed}")
    return {
        kind: rng.choice((10, -10)) if rng.random() < config.carry_slip_share else rng.choice(_SLIPS)
        for kind in _KINDS
        if rng.random() < config.misconception_share
    }


def new_kinds(config: WorldConfig) -> frozenset[Kind]:
    """Return the seeded share of the kinds of facts that no train, test or ood problem has."""
    rng = random.Random(f"new facts {config.seed}")
    return frozenset(rng.sample(_KINDS, round(config.new_facts_share * len(_KINDS))))


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
    """Return `count` distinct problems of a split ("train", "test", "ood", "new_facts").

    They are disjoint from every other split's and from the teacher's by construction: train, test and teacher by hash,
    out-of-distribution by length, new_facts by the kinds of facts on the way to the answer (by hash it is of test, so
    the teacher has none of its problems, but does have its kinds of facts). The first k of a longer list are the list
    of k, so a study that grows keeps its problems. Raises ValueError where the world has too few.
    """
    shortest, longest = config.min_operations, config.max_operations
    if split == "ood":
        shortest, longest = config.ood_min_operations, config.ood_max_operations
    rng, new = random.Random(f"{split} problems {config.seed}"), new_kinds(config)
    distinct: dict[Chain, None] = {}
    for _ in range(100 * count + 1000):
        if len(distinct) == count:
            return list(distinct)
        chain = _chain(rng, rng.randint(shortest, longest))
        by_hash = "ood" if split == "ood" else "test" if split == "new_facts" else split
        is_new = any(kind in new for kind in chain.kinds)
        if is_new == (split == "new_facts") and by_hash in ("ood", _split_of(chain)):
            distinct[chain] = None
    raise ValueError(f"the world has too few distinct {split} problems of {shortest} to {longest} operations: {count}")


def misread(rng: random.Random, operation: Operation) -> Operation | None:
    """Return the operation with another operand, or, one time in three, with "+" and "-" exchanged; None for "%"."""
    if operation.symbol == "%":
        return None
    if operation.symbol in "+-" and rng.random() < 1 / 3:
        return dataclasses.replace(operation, symbol="-" if operation.symbol == "+" else "+")
    others = [operand for operand in OPERANDS[operation.symbol] if operand != operation.operand]
    return dataclasses.replace(operation, operand=rng.choice(others))


def teacher_solutions(config: WorldConfig) -> Iterator[tuple[Chain, list[str]]]:
    """Yield problems and their worked steps, to train the generator on; easy ones first.

    Misconceptions and misreadings are among them. The teacher carries on from its wrong results, as people do.
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
            if rng.random() < config.misreading_rate:
                operation = misread(rng, operation) or operation
            result, kind = operation.apply(value), kind_of(operation, value)
            if kind in wrong and rng.random() < config.misconception_rate:
                result = (result + wrong[kind]) % MODULUS
            steps.append(operation.write(value, result))
            value = result
            if rng.random() < config.filler_rate:
                steps.append(f"So far {value}")
        yield chain, [*steps, answer_step(str(value))]
