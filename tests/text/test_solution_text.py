from __future__ import annotations

import random

import pytest

from components.text.rendering import PROMPT_SEPARATOR, join_steps, render, split_steps
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY, WorldConfig, teacher_solutions

TOKENIZER = build_tokenizer(VOCABULARY)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", []),
        ("a", ["a"]),
        ("a\nb\n# Answer\n\n42", ["a", "b", "# Answer\n\n42"]),
        ("a\nb\n\n# Answer\n\n42", ["a", "b\n", "# Answer\n\n42"]),
        ("# Answer\n\n42\n\nand on", ["# Answer\n\n42\n\nand on"]),
        ("a\n# Answer\n1\n# Answer\n\n2", ["a", "# Answer", "1", "# Answer\n\n2"]),
        ("a\n\n\nb", ["a\n\n", "b"]),
        ("# Answers are below\nx", ["# Answers are below", "x"]),
    ],
)
def test_split_steps(text: str, steps: list[str]) -> None:
    assert split_steps(text) == steps


def test_split_and_join_lose_nothing() -> None:
    rng = random.Random(0)
    pieces = ["a", " ", "\n", "\n\n", "# Answer", "42", "\r", "\u2028", "# Answer\n\n7"]
    for _ in range(5000):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 12)))
        assert join_steps(split_steps(text)) == text


def test_tokenizer_knows_the_world_and_loses_nothing_elsewhere() -> None:
    assert len(TOKENIZER.encode("Start with 7 modulo 20.")) == 6
    for text in ["héllo\n\n wörld 7 12345", r"\frac{1}{2} + \boxed{x^2}", "😀\u200b\t  x", "  a  b\n\n\nc", "<|end|"]:
        assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_rendered_ids_are_the_text_and_step_ends_close_steps() -> None:
    worked = list(teacher_solutions(WorldConfig(teacher_solutions=200)))
    problems, solutions = [chain.problem for chain, _ in worked], [steps for _, steps in worked]
    for problem, steps, one in zip(
        problems, solutions, render(TOKENIZER, problems, solutions, [True] * 200), strict=True
    ):
        assert TOKENIZER.decode(one.ids[: one.prompt_length]) == problem + PROMPT_SEPARATOR
        assert TOKENIZER.decode(one.ids[one.prompt_length : -1]) == join_steps(steps)
        assert one.ids[-1] == TOKENIZER.eos_token_id
        assert len(one.step_ends) == len(steps)
        begin = one.prompt_length
        for step, end in zip(steps, one.step_ends, strict=True):
            assert TOKENIZER.decode(one.ids[begin:end]) == step
            begin = end + 1


def test_a_step_may_hold_newlines_and_a_batch_renders_as_one_by_one() -> None:
    solutions = [["x", "# Answer\n\n42"], [], ["one\n", "two"]]
    together = render(TOKENIZER, ["p", "q", "r"], solutions, [True, True, False])
    assert together == [render(TOKENIZER, [p], [s], [p != "r"])[0] for p, s in zip("pqr", solutions, strict=True)]
    assert [len(one.step_ends) for one in together] == [2, 0, 2]


def test_a_prefix_of_a_solution_has_a_prefix_of_its_ids() -> None:
    for chain, steps in teacher_solutions(WorldConfig(teacher_solutions=50)):
        [whole] = render(TOKENIZER, [chain.problem], [steps], [True])
        for count in range(1, len(steps)):
            [part] = render(TOKENIZER, [chain.problem], [steps[:count]], [False])
            assert part.ids == whole.ids[: len(part.ids)]
            assert part.step_ends == whole.step_ends[:count]
