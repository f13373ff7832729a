"""Process labels by a judge: an instruction model is shown a solution with numbered steps, and names the first wrong
one or none (as ProcessBench asks critic models, Zheng et al. 2024, §4.2).

Its verdict is JSON, the last in what it writes, so that a model may think first:

    {"first_wrong_step": 3}      or      {"first_wrong_step": null}

Steps are numbered from 1. A text without a verdict, or with a step that is not there, is kept, counted, and gives no
label. With `structured` vLLM holds the whole answer to a verdict's form, and nothing can be thought before it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.dataflow.joined_rows import joined_rows
from components.dataflow.stage import MapStage, Model, TableStage, seed_for
from components.models.chat_template import apply_chat_template
from components.models.model_folder import open_tokenizer
from components.sampling.engines import Request, SamplingConfig, engine_distribution
from components.sampling.open_engine import open_engine
from components.text.rendering import answer_step, render_prompts
from components.worlds.worked_arithmetic import Chain, WorldConfig, teacher_solutions
from components.worlds.worked_steps import rate_steps
from schemas.ratings import NEGATIVE, NO_ERROR, POSITIVE
from schemas.settings import NoSettings, settings
from schemas.tables import JUDGEMENTS, SAMPLE_KEY, STEP_LABELS, TEACHER_SOLUTIONS

PROMPT = Path(__file__).with_name("judge_prompt.txt")
VERDICT = r'\{"first_wrong_step": (null|[1-9][0-9]{0,2})\}'  # the form to which `structured` holds the answer
_VERDICT = re.compile(r'\{\s*"first_wrong_step"\s*:\s*(null|\d+)\s*\}')


@settings
class JudgeConfig:
    """Settings of a judge: its prompt, and the sampling of its answer."""

    sampling: SamplingConfig  # of its answer; samples_per_problem and sample_block have no meaning here
    prompt: str  # text with the places {problem} and {steps}

    def __post_init__(self) -> None:
        for place in ("{problem}", "{steps}"):
            if place not in self.prompt:
                raise ValueError(f"the prompt has no {place}")


@settings
class JudgeLessonsConfig:
    """Settings of the examples of the embedded world's judge."""

    world: WorldConfig  # whose teacher's solutions it judges
    prompt: str  # the JudgeConfig's


def judgements(config: JudgeConfig, judge: Model) -> MapStage:
    """The stage solutions → judgements, one per solution. Raises ValueError for a prompt without its places."""
    for place in ("{problem}", "{steps}"):
        if place not in config.prompt:
            raise ValueError(f"the judge's prompt has no {place}")
    return MapStage(
        "judgements",
        version=1,
        config=config,
        schema=JUDGEMENTS,
        make_worker=open_judge,
        place="engines",
        models={"judge": judge},
        engines=(engine_distribution(config.sampling.engine), "torch", "transformers"),
    )


def judge_labels() -> TableStage:
    """The stage (solutions, judgements) → step labels: right before the first wrong step, which is wrong."""
    reads = {"solutions": ["problem_id", "sample_index", "split", "steps"]}
    config = NoSettings()
    return TableStage("judge_labels", 1, config, STEP_LABELS, _judge_labels, shards_like="solutions", reads=reads)


def judge_lessons(config: JudgeLessonsConfig) -> TableStage:
    """The stage that writes the examples of the embedded world's judge; a real study has an instruction model.

    Prompts are the problems of the table, and the answers to them (`lesson`) its solutions. They are about the
    teacher's solutions, misconceptions included; no split has their problems.
    """
    return TableStage("judge_lessons", 2, config, TEACHER_SOLUTIONS, _judge_lessons, shard_rows=4000)


def ask(prompt: str, problem: str, steps: Sequence[str]) -> str:
    """Return the judge's prompt for one solution.

    >>> ask("{problem}|{steps}", "1 + 1?", ["1 + 1 = 2", "# Answer\\n\\n2"])
    '1 + 1?|1: 1 + 1 = 2\\n2: # Answer\\n\\n2'
    """
    numbered = "\n".join(f"{number}: {step}" for number, step in enumerate(steps, start=1))
    places = {"{problem}": problem, "{steps}": numbered}
    return re.sub(r"\{problem\}|\{steps\}", lambda match: places[match[0]], prompt)


def verdict(first_error: int | None) -> str:
    """Return the verdict that names a 0-based first wrong step, or none."""
    return f'{{"first_wrong_step": {"null" if first_error is None else first_error + 1}}}'


def read_verdict(text: str, num_steps: int) -> tuple[int | None, str]:
    """Return the 0-based first wrong step of the last verdict in a text, −1 for none, and the status; None without one.

    >>> read_verdict('Step 2 is off. {"first_wrong_step": 2}', 5), read_verdict("no idea", 5)
    ((1, 'ok'), (None, 'unparsable'))
    """
    verdicts: list[str] = _VERDICT.findall(text)
    if not verdicts:
        return None, "unparsable"
    if verdicts[-1] == "null":
        return -1, "ok"
    number = int(verdicts[-1])
    return (number - 1, "ok") if 1 <= number <= num_steps else (None, "no_such_step")


@dataclass(frozen=True)
class Written:
    """What a judge wrote. finish_reason: stop or length; error: why there is nothing."""

    text: str = ""
    finish_reason: str | None = None
    num_tokens: int = 0
    error: str | None = None


class Judge:
    """The actor of the stage: one model, fed a shard of solutions at a time.

    write(prompts, seeds) lets it write, one text per prompt. held_to_form: a text that was cut is a verdict all the
    same.
    """

    def __init__(
        self, prompt: str, seed: int, write: Callable[[list[str], list[int]], list[Written]], held_to_form: bool = False
    ) -> None:
        self.prompt, self.seed, self.write, self.held_to_form = prompt, seed, write, held_to_form

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row per solution: the text of the judge, its verdict, and how it could be read."""
        return self.judge(table, self.seed)

    def judge(self, table: pa.Table, seed: int) -> pa.Table:
        """Return the rows of `__call__`, with another seed. From any number of threads."""
        rows = table.to_pylist()
        errors = [row["error"] or (None if row["steps"] else "the solution has no steps") for row in rows]
        readable = [row for row, error in zip(rows, errors, strict=True) if error is None]
        prompts = [ask(self.prompt, row["problem"], row["steps"]) for row in readable]
        seeds = [seed_for(seed, "judge", row["problem_id"], row["sample_index"]) for row in readable]
        written = iter(self.write(prompts, seeds))
        judged = []
        for row, error in zip(rows, errors, strict=True):
            identity = {name: row[name] for name in ("problem_id", "sample_index", "split")}
            one = Written(error=error) if error is not None else next(written)
            judged.append(identity | self._read(one, len(row["steps"])))
        return pa.Table.from_pylist(judged, schema=JUDGEMENTS)

    def _read(self, one: Written, num_steps: int) -> dict[str, Any]:
        if one.error is not None:
            return {"text": "", "status": "error", "first_error": None, "num_tokens": 0, "error": one.error}
        first_error, status = read_verdict(one.text, num_steps)
        if one.finish_reason == "length" and not self.held_to_form:
            first_error, status = None, "unparsable"  # whatever it quoted on the way, it came to no end
        found = {"text": one.text, "status": status, "first_error": first_error, "num_tokens": one.num_tokens}
        return found | {"error": None}


def open_judge(config: JudgeConfig, models: dict[str, Path], options: Mapping[str, Any] = {}) -> Judge:
    """Open a judge's folder with an engine. options: vLLM's, of the placement."""
    write = _EngineWriter(config.sampling, models["judge"], options)
    return Judge(config.prompt, config.sampling.seed, write, bool(config.sampling.regex))


class _EngineWriter:
    """Lets a model folder write, by an engine."""

    def __init__(self, sampling: SamplingConfig, folder: Path, options: Mapping[str, Any]) -> None:
        self.sampling = sampling
        self.tokenizer = open_tokenizer(folder)
        self.tokenizing = threading.Lock()
        self._prompts(["?"])  # a template that takes for ever is better found before an engine is opened
        self.engine = open_engine(folder, sampling, options)

    def __call__(self, prompts: list[str], seeds: list[int]) -> list[Written]:
        with self.tokenizing:
            tokenised = self._prompts(prompts)
        room = self.sampling.max_model_length - self.sampling.max_tokens
        fitting = [index for index, ids in enumerate(tokenised) if len(ids) <= room]
        samples = self.engine.generate([Request(tokenised[index], seeds[index]) for index in fitting])
        limit = self.sampling.max_model_length
        written = [
            Written(error=f"the judge's prompt of {len(ids)} tokens does not fit into {limit}") for ids in tokenised
        ]
        for index, sample in zip(fitting, samples, strict=True):
            with self.tokenizing:
                text = str(self.tokenizer.decode(sample.ids, skip_special_tokens=True))
            written[index] = Written(text, sample.finish_reason, len(sample.ids), sample.error)
        return written

    def _prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise prompts by the model's chat template, where it has one; else as every prompt of the project."""
        if not getattr(self.tokenizer, "chat_template", None):
            return render_prompts(self.tokenizer, texts)
        options = {"add_generation_prompt": True, "return_dict": False}
        chats = ([{"role": "user", "content": text}] for text in texts)
        return [list(apply_chat_template(self.tokenizer, chat, **options)) for chat in chats]


def _judge_lessons(config: JudgeLessonsConfig) -> pa.Table:
    rows = [
        {"problem": ask(config.prompt, chain.problem, steps), "steps": lesson(chain, steps), "error": None}
        for chain, steps in teacher_solutions(config.world)
    ]
    return pa.Table.from_pylist(rows, schema=TEACHER_SOLUTIONS)


def lesson(chain: Chain, steps: Sequence[str]) -> list[str]:
    """Return the answer that the embedded judge should write about a solution.

    It has each step as it should be, through the first wrong one, and the verdict. A tiny model cannot tell at a
    glance; having written the right step, it only has to compare.
    """
    ratings = rate_steps(chain.problem, steps) or []
    first_error = ratings.index(NEGATIVE) if NEGATIVE in ratings else None
    lines = list(steps[: len(ratings) if first_error is None else first_error])
    if first_error is not None:
        done, value = ratings.count(POSITIVE), chain.start
        for operation in chain.operations[:done]:
            value = operation.apply(value)
        next_operation = chain.operations[done : done + 1]
        lines += [operation.write(value, operation.apply(value)) for operation in next_operation] or [
            answer_step(str(value))
        ]
    return [*(" ".join(line.split()) for line in lines), verdict(first_error)]


def _judge_labels(config: NoSettings, solutions: pa.Table, judgements: pa.Table) -> pa.Table:
    rows = []
    for row in joined_rows({"solutions": solutions, "judgements": judgements}, SAMPLE_KEY):
        first_error: int | None = row["first_error"]
        ratings: list[int] = []
        if first_error == NO_ERROR:
            ratings = [POSITIVE] * len(row["steps"])
        elif first_error is not None:
            ratings = [*[POSITIVE] * first_error, NEGATIVE]
        labels: dict[str, Any] = {"ratings": ratings, "probabilities": None, "label_source": "judge"}
        labels["provenance"] = [f"the judge: {row['status']}"] * len(ratings)
        rows.append(row | labels | {"alternatives": []})
    return pa.Table.from_pylist(rows, schema=STEP_LABELS)
