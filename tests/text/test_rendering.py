"""Rendering by real tokenizers: the ids are those that a stranger would make of a model card's words, in any company.

Real solutions where the data lies, and hard ones everywhere. The stranger has each step encoded as a line of its own;
Mistral's tokenizers by the libraries that they were made for: nothing of Hugging Face stands on both sides there.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mistral_common
import pytest
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import generate_merges
from transformers.integrations.mistral.tokenizer import MistralConverter

from components.text.rendering import Rendered, join_steps, render, split_steps
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY
from tests.conftest import Counted
from tests.real_rows import REAL_ROWS, needs_real_rows

MISTRAL = Path(mistral_common.__file__).parent / "data"
REAL_FILES = ["math_train12k", "prm800k_train2pct_decoded", "processbench_gsm8k", "processbench_math_half"]
real = [pytest.mark.slow, needs_real_rows(*(f"{name}.jsonl.gz" for name in REAL_FILES))]


@dataclass(frozen=True)
class Solution:
    problem: str
    steps: list[str]
    finished: bool


@dataclass(frozen=True)
class Case:
    """A tokenizer, and what a stranger knows of it: how it encodes texts and lines, and what closes them."""

    tokenizer: Any
    encode: Callable[[str], list[int]]
    encode_line: Callable[[str], list[int]]
    newline: list[int]
    end_of_text: int


def sentence_piece() -> Case:
    """Mistral 7B's first, in the form that it and Llama 2 have on the Hugging Face Hub.

    Not by LlamaTokenizer: transformers 5.19 takes a .model file's merges in the order of their ids, not their scores.
    """
    theirs = SentencePieceProcessor(model_file=str(MISTRAL / "tokenizer.model.v1"))
    vocabulary = {theirs.id_to_piece(index): index for index in range(len(theirs))}
    merges = generate_merges(vocabulary, {piece: theirs.get_score(index) for piece, index in vocabulary.items()})
    ours = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    ours.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    strip = decoders.Strip(" ", 1, 0)
    ours.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip])
    fast = PreTrainedTokenizerFast(tokenizer_object=ours, eos_token="</s>")
    return Case(fast, theirs.encode, lambda line: theirs.encode("\n" + line)[2:], newline=[13], end_of_text=2)


def tekken() -> Case:
    """Mistral NeMo's: 131,072 tokens, merged from bytes."""
    file = MISTRAL / "tekken_240718.json"
    theirs = Tekkenizer.from_file(file)
    fast = PreTrainedTokenizerFast(tokenizer_object=MistralConverter(str(file)).converted(), eos_token="</s>")
    encode = functools.partial(theirs.encode, bos=False, eos=False)
    return Case(fast, encode, encode, newline=[1010], end_of_text=2)


def embedded() -> Case:
    """Ours: words of the world, and bytes for all else."""
    tokenizer = build_tokenizer(VOCABULARY)
    newline, end = tokenizer.convert_tokens_to_ids(["Ċ", "<|end|>"])

    def encode(text: str) -> list[int]:
        return tokenizer.backend_tokenizer.encode(text).ids

    return Case(tokenizer, encode, encode, newline=[newline], end_of_text=end)


def hard_solutions() -> list[Solution]:
    steps = ["one", "", " ", "  two", "three ", "\n", "\nfour\n\n", "a\r\nb", "# Answer\n\n42", "√2 ≈ 1", "🙂\u200b"]
    rng = random.Random(0)
    drawn = [rng.choices(steps, k=rng.randint(0, 5)) for _ in range(500)]
    return [Solution(rng.choice(steps), chosen, rng.random() < 0.5) for chosen in drawn]


def real_solutions() -> list[Solution]:
    """9,000 reference solutions of MATH by lines, and the steps of PRM800K's and ProcessBench's samples."""
    rng = random.Random(0)
    solutions = []
    for name in REAL_FILES:
        with gzip.open(REAL_ROWS / f"{name}.jsonl.gz", "rt") as lines:
            for row in map(json.loads, itertools.islice(lines, 9000)):
                steps = row["steps"] if "steps" in row else split_steps(row["solution"])
                texts = [step["text"] if isinstance(step, dict) else step for step in steps]
                solutions.append(Solution(row["problem"], texts, rng.random() < 0.5))
    return solutions


@pytest.fixture(scope="module", params=[sentence_piece, tekken, embedded], ids=lambda make: make.__name__)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param()


@pytest.fixture(
    scope="module", params=[hard_solutions, pytest.param(real_solutions, marks=real)], ids=lambda make: make.__name__
)
def solutions(request: pytest.FixtureRequest) -> list[Solution]:
    return request.param()


@pytest.fixture(scope="module")
def rendered(case: Case, solutions: list[Solution]) -> list[Rendered]:
    return render_all(case, solutions)


def render_all(case: Case, solutions: list[Solution]) -> list[Rendered]:
    problems, steps = [one.problem for one in solutions], [one.steps for one in solutions]
    return render(case.tokenizer, problems, steps, [one.finished for one in solutions])


def test_a_stranger_gets_the_same_ids(
    case: Case, solutions: list[Solution], rendered: list[Rendered], counted: Counted, request: pytest.FixtureRequest
) -> None:
    for one, ours in zip(solutions, rendered, strict=True):
        ids = case.encode(one.problem + "\n\n")
        prompt_length, step_ends = len(ids), []
        for number, step in enumerate(one.steps, 1):
            ids += case.encode_line(step)
            ids += [case.end_of_text] if one.finished and number == len(one.steps) else case.newline
            step_ends.append(len(ids) - 1)
        assert ours == Rendered(ids, prompt_length, step_ends)
    steps, tokens = sum(len(one.step_ends) for one in rendered), sum(len(one.ids) for one in rendered)
    counted(f"rendering [{request.node.callspec.id}]: {len(solutions):,} solutions, {steps:,} steps, {tokens:,} ids")


def test_neighbours_do_not_matter(case: Case, solutions: list[Solution], rendered: list[Rendered]) -> None:
    rng = random.Random(1)
    chosen = rng.sample(range(len(solutions)), 400)
    assert render_all(case, [solutions[i] for i in chosen]) == [rendered[i] for i in chosen]
    assert [render_all(case, [solutions[i]])[0] for i in chosen] == [rendered[i] for i in chosen]


def test_a_prefix_has_a_prefix_of_the_ids(case: Case, solutions: list[Solution], rendered: list[Rendered]) -> None:
    rng = random.Random(2)
    chosen = rng.sample([i for i, one in enumerate(solutions) if one.steps], 400)
    counts = [rng.randrange(len(solutions[i].steps)) for i in chosen]
    parts = [
        Solution(solutions[i].problem, solutions[i].steps[:count], False)
        for i, count in zip(chosen, counts, strict=True)
    ]
    for i, count, part in zip(chosen, counts, render_all(case, parts), strict=True):
        assert part.ids == rendered[i].ids[: len(part.ids)]
        assert part.step_ends == rendered[i].step_ends[:count]


def test_ids_decode_to_the_text(case: Case, solutions: list[Solution], rendered: list[Rendered]) -> None:
    texts = case.tokenizer.batch_decode([one.ids for one in rendered])
    for one, text in zip(solutions, texts, strict=True):
        end = case.tokenizer.eos_token if one.finished else "\n"
        assert text == one.problem + "\n\n" + (join_steps(one.steps) + end if one.steps else "")


def test_a_sample_of_the_very_ids_is_the_same_solution(
    case: Case, solutions: list[Solution], rendered: list[Rendered]
) -> None:
    """What the generator was taught comes back from it, through text, as the same ids for the reward models."""
    ours = [one.finished and split_steps(join_steps(one.steps)) == one.steps != [] for one in solutions]  # by our rule
    for i in [i for i, good in enumerate(ours) if good and not solutions[i].steps[0][:1].isspace()][:400]:
        ids = rendered[i].ids[rendered[i].prompt_length :]
        steps = split_steps(case.tokenizer.decode(ids, skip_special_tokens=True))
        assert render_all(case, [Solution(solutions[i].problem, steps, True)]) == [rendered[i]]


def toy(vocabulary: str, eos_token: str | None) -> PreTrainedTokenizerFast:
    """A token per character; those outside of the vocabulary are dropped, and a newline is written as two."""
    characters = Tokenizer(models.BPE({character: index for index, character in enumerate(vocabulary)}, []))
    characters.normalizer = normalizers.Replace("\n", "/n")
    return PreTrainedTokenizerFast(tokenizer_object=characters, eos_token=eos_token)


def test_a_separator_may_have_several_ids() -> None:
    tokenizer = toy(".x/n", eos_token=".")
    [cut, whole] = render(tokenizer, ["x", "x"], [["xx", "x"]] * 2, [False, True])
    assert cut == Rendered([1, 2, 3, 2, 3, 1, 1, 2, 3, 1, 2, 3], prompt_length=5, step_ends=[8, 11])
    assert whole == Rendered([1, 2, 3, 2, 3, 1, 1, 2, 3, 1, 0], prompt_length=5, step_ends=[8, 10])


@pytest.mark.parametrize(("vocabulary", "eos_token", "lost"), [(".x/n", None, "end-of-text"), (".x", ".", "newline")])
def test_tokenizers_that_cannot_close_steps_are_refused(vocabulary: str, eos_token: str | None, lost: str) -> None:
    with pytest.raises(ValueError, match=lost):
        render(toy(vocabulary, eos_token), ["x"], [["x"]], [True])
