"""Rollouts: the generator's continuations from the steps of a solution, graded (Math-Shepherd, Wang et al. 2023, §3.3;
OmegaPRM, Luo et al. 2024, §3.2).

From the prefix that ends with a step, k continuations are sampled. Every step: all prefixes but the last. First error:
binary search for the first step after which no continuation is right, as if none could be after it; a solution with the
right answer is not searched. A continuation's seed is a hash of (recipe seed, problem, sample, step, its number), so
both ways see the same ones, and 16 rollouts are the first 8 and 8 more.

Departs from Math-Shepherd in the token cap: prefix and continuation share that of a solution. A generator that is
sampled as it is goes on with its own turn: with the very text that it wrote, up to where the next step begins.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import PositiveInt

from components.dataflow.stage import MapStage, Model, seed_for
from components.grader.sandbox import GradingSandbox
from components.models.model_folder import open_tokenizer
from components.sampling.engines import Request, SamplingConfig, engine_distribution
from components.sampling.generation import before
from components.sampling.open_engine import open_engine
from components.text.rendering import (
    STEP_SEPARATOR,
    Rendered,
    end_of_turn_ids,
    join_steps,
    render,
    render_turns,
)
from schemas.settings import settings
from schemas.tables import ROLLOUTS

Row = dict[str, Any]


@settings
class RolloutsConfig:
    """Settings of continuations: how they are sampled, and after which steps."""

    sampling: SamplingConfig  # of continuations; samples_per_problem and sample_block have no meaning here
    search: Literal["every_step", "first_error"]  # after every step but the last, or by binary search
    grader_version: int  # of the grader that says whether a continuation is right
    rollouts_per_step: PositiveInt = 8  # continuations of each step
    rollout_block: PositiveInt = 8  # continuations per step in one shard: the grain of extending


def rollouts(config: RolloutsConfig, generator: Model, name: str = "rollouts") -> MapStage:
    """The stage solutions → rollouts: a row per solution and block of continuations."""
    return MapStage(
        name,
        version=1,
        config=config,
        schema=ROLLOUTS,
        make_worker=Rollouts,
        models={"generator": generator},
        engines=(engine_distribution(config.sampling.engine), "torch", "transformers"),
        items=_blocks,
        not_in_key=("rollouts_per_step",),
        place="engines",
    )


def _blocks(config: RolloutsConfig, attributes: Mapping[str, str]) -> list[dict[str, int]]:
    total, step = config.rollouts_per_step, config.rollout_block
    return [{"rollout_start": at, "rollout_count": min(step, total - at)} for at in range(0, total, step)]


@dataclass
class _Search:
    """The search of one solution. Continuations are sampled after step `middle`.

    After step `right` one was right (−1: the problem alone), after step `wrong` none was. sampled_steps, answers,
    is_correct: the steps that were sampled after, and the continuations of each.
    """

    row: Row
    right: int
    wrong: int
    sampled_steps: list[int] = field(default_factory=list)
    answers: list[list[str | None]] = field(default_factory=list)
    is_correct: list[list[bool | None]] = field(default_factory=list)
    num_tokens: int = 0
    error: str | None = None

    @property
    def middle(self) -> int:
        """The step in the middle."""
        return (self.right + self.wrong) // 2


def prefix_through(text: str, steps: Sequence[str], step: int) -> str:
    r"""Return a text up to where the step after `step` begins. Raises ValueError where the steps are not those of it.

    >>> prefix_through("Add.\n\nThen 4.\n\nSo 4.", ["Add.", "Then 4.", "So 4."], 0)
    'Add.\n\n'
    """
    at = 0
    for one in steps[: step + 1]:
        found = text.find(one, at)
        if found < 0:
            raise ValueError(f"step {one[:60]!r} does not stand in the text")
        at = found + len(one)
    found = text.find(steps[step + 1], at)
    if found < 0:
        raise ValueError(f"step {steps[step + 1][:60]!r} does not stand in the text")
    return text[:found]


class Rollouts:
    """The actor of the stage: one engine and one grader, fed a shard of solutions at a time."""

    def __init__(self, config: RolloutsConfig, models: dict[str, Path], options: Mapping[str, Any] = {}) -> None:
        self.config = config
        self.tokenizer = open_tokenizer(models["generator"])
        self.tokenizing = threading.Lock()
        self.ends = end_of_turn_ids(self.tokenizer) if config.sampling.prompt else ()
        self.engine = open_engine(models["generator"], config.sampling, options)
        self.grader = GradingSandbox()

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row per solution: the answers of the continuations of this block, graded."""
        rows = table.to_pylist()
        numbers = range(item["rollout_start"], item["rollout_start"] + item["rollout_count"])
        own = self._own_grades(rows)
        searches = [_Search(row, -1, len(row["steps"]) - 1, error=row["error"]) for row in rows]
        for search in searches:
            if search.error is None and not search.row["steps"]:
                search.error = "the solution has no steps"
        if self.config.search == "every_step":
            good = [search for search in searches if search.error is None]
            self._ask([(search, step) for search in good for step in range(len(search.row["steps"]) - 1)], numbers)
        else:
            open_ = [s for s, right in zip(searches, own, strict=True) if s.error is None and right is False]
            while open_ := [search for search in open_ if search.error is None and search.wrong - search.right > 1]:
                self._ask([(search, search.middle) for search in open_], numbers)
                for search in open_:
                    if search.error is None and True in search.is_correct[-1]:
                        search.right = search.middle
                    elif search.error is None:
                        search.wrong = search.middle
        output = [
            {name: search.row[name] for name in ("problem_id", "sample_index", "split")}
            | {"num_steps": len(search.row["steps"]), "own_is_correct": right}
            | {"is_cut": search.row["finish_reason"] == "length"}
            | {"first_rollout": numbers.start, "num_rollouts": len(numbers), "asked_steps": search.sampled_steps}
            | {
                "answers": search.answers,
                "is_correct": search.is_correct,
                "num_tokens": search.num_tokens,
                "error": search.error,
            }
            for search, right in zip(searches, own, strict=True)
        ]
        return pa.Table.from_pylist(output, schema=ROLLOUTS)

    def _own_grades(self, rows: Sequence[Row]) -> list[bool | None]:
        """Tell whether each solution's own answer is right; None where the grader does not know."""
        answers = [answer for answer, _ in self.grader.answers([(row["text"], row["finish_reason"]) for row in rows])]
        truths = [row["ground_truth_answer"] or "" for row in rows]
        pairs = list(zip(answers, truths, strict=True))
        known = self.grader.known_verdicts((answer, truth) for answer, truth in pairs if answer)
        return [
            None if row["error"] else known[answer, truth].is_correct if answer else False
            for (answer, truth), row in zip(pairs, rows, strict=True)
        ]

    def _prefixes(self, places: Sequence[tuple[_Search, int]]) -> tuple[list[Rendered], list[str]]:
        """Return the prompts that end with these steps of these solutions, and the texts of the solutions so far."""
        problems = [search.row["problem"] for search, _ in places]
        config = self.config.sampling
        if config.prompt:
            histories = [prefix_through(search.row["text"], search.row["steps"], step) for search, step in places]
            shown = render_turns(self.tokenizer, config.prompt, config.system_prompt, problems)
            written = self.tokenizer(histories, add_special_tokens=False)["input_ids"]
            return [Rendered([*a, *b], len(a), []) for a, b in zip(shown, written, strict=True)], histories
        steps = [search.row["steps"][: step + 1] for search, step in places]
        prompts = render(self.tokenizer, problems, steps, [False] * len(places))
        return prompts, [join_steps(some) + STEP_SEPARATOR for some in steps]

    def _ask(self, places: Sequence[tuple[_Search, int]], numbers: range) -> None:
        """Sample and grade continuations after these steps of these solutions, and note them in the searches."""
        config = self.config.sampling
        with self.tokenizing:
            prompts, histories = self._prefixes(places)
        requests: list[Request] = []
        fits = []
        for (search, step), prompt in zip(places, prompts, strict=True):
            left = config.max_tokens - (len(prompt.ids) - prompt.prompt_length)
            fits.append(left > 0 and len(prompt.ids) + left <= config.max_model_length)
            if not fits[-1]:
                search.error = search.error or f"no token is left for a continuation after step {step}"
                continue
            for number in numbers:
                identity = (search.row["problem_id"], search.row["sample_index"], step, number)
                seed = seed_for(config.seed, "rollout", *identity)
                requests.append(Request(prompt.ids, seed, left, ends=self.ends))
        samples = iter(self.engine.generate(requests))
        written: list[tuple[_Search, int, list[tuple[str, str]], list[int]]] = []
        for (search, step), has_room, history in zip(places, fits, histories, strict=True):
            texts: list[tuple[str, str]] = []
            counts: list[int] = []
            for _ in numbers if has_room else ():
                sample = next(samples)
                search.error = search.error or sample.error
                with self.tokenizing:
                    text = str(self.tokenizer.decode(sample.ids, skip_special_tokens=True))
                text, stopped = before(config.stops, text) if config.prompt else (text, False)
                texts.append((history + text, "stop" if stopped else sample.finish_reason))
                counts.append(len(sample.ids))
            written.append((search, step, texts, counts))
        answers = iter(self.grader.answers([text for _, _, texts, _ in written for text in texts]))
        results = [
            (search, step, [(next(answers)[0], count) for count in counts]) for search, step, _, counts in written
        ]
        truths = {id(search): search.row["ground_truth_answer"] or "" for search, _ in places}
        known = self.grader.known_verdicts(
            (answer, truths[id(search)])
            for search, _, continuations in results
            for answer, _ in continuations
            if answer
        )
        for search, step, continuations in results:
            search.sampled_steps.append(step)
            search.answers.append([answer for answer, _ in continuations])
            truth = truths[id(search)]
            search.is_correct.append(
                [known[answer, truth].is_correct if answer else False for answer, _ in continuations]
            )
            search.num_tokens += sum(count for _, count in continuations)
