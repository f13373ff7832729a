"""What the released grader of PRM800K is known to say, right or wrong."""

from __future__ import annotations

import pytest

from components.grader.prm800k_grader import decide


@pytest.mark.parametrize(
    ("answer", "truth", "accepted"),
    [
        # Known false accepts.
        ("x=5", "y=5", True),
        ("1101_2", "11012", True),
        ("(1,234)", "1234", True),
        ("ab", "ba", True),
        ("(x+1)(x-1)", "x^2-1", True),
        ("x+2/7", r"\frac{x+2}{7}", True),
        # Known false rejects.
        ("2,1", "1,2", False),
        ("2^{10}", "1024", False),
        (r"\pi x", r"x\pi", False),
        ("x>5", "5<x", False),
        ("x+y+z", "z+y+x", False),
        # Fractions must be reduced, whole numbers literal.
        (r"\frac{2}{4}", r"\frac{1}{2}", False),
        ("3", "4", False),
        ("5.0", "5", True),
        # Style, units, percents, tuples element by element, and SymPy.
        ("0.5", r"\frac{1}{2}", True),
        (r"5\text{ cm}", "5", True),
        (r"10\%", "10", True),
        ("(1, 2)", "(1,2)", True),
        ("(1,2)", "(2,1)", False),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        ("", "5", False),
    ],
)
def test_the_released_graders_verdicts(answer: str, truth: str, accepted: bool) -> None:
    assert decide(answer, truth)[0] == accepted
