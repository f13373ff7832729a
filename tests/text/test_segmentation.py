"""Cutting any model's text into steps: nothing is lost, and real outputs fall into the steps that a reader sees."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.text.rendering import join_steps, split_steps
from components.text.segmentation import RULES, rule_for, segments, steps
from tests.conftest import Counted
from tests.real_rows import REAL_ROWS, needs_real_rows

# What separators, stops and mathematics are made of, so that they meet in every way.
BLANKS = ("\n", "\n\n", "\r\n", "\r", " ", "\t", "\x0b", "\u2028", "\u0085")
MARKS = ("a", "B", "3.5", ".", ". ", "...", "? ", "e.g. ", "1. ", "。", "$", "$5", "\\(", "\\)", "\\[", "\\]", "\\\\")
HEADERS = ("# Answer", "\n# Answer\n", "\r\n# Answer\r\n")
PIECES = st.sampled_from((*BLANKS, *MARKS, *HEADERS))
TEXTS = st.one_of(st.lists(PIECES, max_size=14).map("".join), st.text())
SENTENCES = st.lists(
    st.sampled_from(["Add 3.5 and 4. ", "So $x. Y$ is 7. ", "Is it? ", "No! "]), min_size=1, max_size=6
)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
@example(text="")
@example(text=" \r\n\r\n ")
@example(text="\n\n a\n\n")
@example(text="a\r\n\r\nb\r\n\r\n# Answer\r\n\r\n9")
@example(text="a\n# Answer\n\nb. C\n\n# Answer\n\nd. E\n\nf")
def test_segments_add_up_to_the_text_and_none_is_blank(rule: str, text: str) -> None:
    found = segments(text, rule)
    assert "".join(found) == text
    assert all(segment.strip() for segment in found) or found == [text]
    assert all(step.strip() for step in steps(text, rule))
    assert "".join("".join(steps(text, rule)).split()) == "".join(text.split())


@pytest.mark.parametrize("rule", RULES)
@given(body=TEXTS, answer=TEXTS)
def test_an_answer_section_is_the_last_segment(rule: str, body: str, answer: str) -> None:
    section = f"# Answer\n\nx {answer.replace('# Answer', '')}"
    found = segments(f"First.\n{body}\n{section}", rule)
    assert found[-1] == section
    assert len(found) >= 2


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n\r")).filter(str.strip), min_size=1), end=st.booleans()
)
def test_by_newline_the_steps_are_those_of_the_text_format(lines: list[str], end: bool) -> None:
    text = "\n".join(lines) + "\n\n# Answer\n\n9" * end
    assert steps(text, "newline") == split_steps(text)
    assert join_steps(steps(text, "newline")) == text


@given(sentences=SENTENCES)
def test_running_text_is_cut_where_sentences_end(sentences: list[str]) -> None:
    assert segments("".join(sentences)) == sentences


@pytest.mark.parametrize(
    "whole",
    [
        "We use rules, e.g. Fermat's, i.e. Eq. (3) and Fig. 2 of Sec. 4, cf. No. 7 by Dr. Weil et al. Here it ends",
        "The ratio is 3.5 and 1,000.25 in all",
        "For $x > 0. So f. Then$ and \\( a. B \\) and \\[ c. D! \\] and $$ e. F $$ it holds",
        "The $ x = 3. Then $ y",
        "We go on 1, 2, ... Then 9, . . . Then 10… Then 11",
        "1. First we add",
        "Step 2. We add",
        "(a) The sum",
        "It is 5 p.m. Now",
        "The line \\\\[2pt] ends here",
        '"Is it so?" he asks',
    ],
)
def test_what_is_no_end_of_a_sentence(whole: str) -> None:
    assert segments(f"{whole}. Next one.", "sentence") == [f"{whole}. ", "Next one."]


def test_prices_are_no_mathematics_and_open_mathematics_holds_nothing() -> None:
    assert segments("Ann pays $5. Bob pays $3. They pay $8. Done.") == [
        "Ann pays $5. ",
        "Bob pays $3. ",
        "They pay $8. ",
        "Done.",
    ]
    assert segments("It is \\$5. She has \\$3. So \\( x. It is. Z.") == [
        "It is \\$5. ",
        "She has \\$3. ",
        "So \\( x. ",
        "It is. ",
        "Z.",
    ]
    assert segments("先算和。再算差。\\(x=3\\)。") == ["先算和。", "再算差。", "\\(x=3\\)。"]


@pytest.mark.parametrize(
    ("text", "rule", "wanted"),
    [
        # The embedded world's, and PRM800K's: a step per line; the blank line in the section does not count.
        ("7 + 5 = 12\n12 - 3 = 9\n# Answer\n\n9", "newline", ["7 + 5 = 12", "12 - 3 = 9", "# Answer\n\n9"]),
        ("We add. It is 12.\n\n# Answer\n\n12", "newline", ["We add. It is 12.\n", "# Answer\n\n12"]),
        # An instruct model's markdown: paragraphs, with display mathematics on lines of its own.
        (
            "### Step 1\nWe have\n\\[ x = 3. \\]\n\n**Step 2:** Then \\(y = 4\\).\n\nThe answer is \\(\\boxed{7}\\).\n",
            "double_newline",
            ["### Step 1\nWe have\n\\[ x = 3. \\]", "**Step 2:** Then \\(y = 4\\).", "The answer is \\(\\boxed{7}\\)."],
        ),
        ("First, 18.\r\n\r\nSecond, 36. \r\n\r\nSo 36.", "double_newline", ["First, 18.", "Second, 36. ", "So 36."]),
        (
            "Natalia sold 48/2 = 24 clips in May. Altogether she sold 48+24 = 72 clips. The answer is 72.",
            "sentence",
            ["Natalia sold 48/2 = 24 clips in May.", "Altogether she sold 48+24 = 72 clips.", "The answer is 72."],
        ),
    ],
)
def test_auto_on_what_models_write(text: str, rule: str, wanted: list[str]) -> None:
    assert rule_for(text) == rule
    assert steps(text) == wanted


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="rule 'words': one of newline, double_newline, sentence, auto"):
        segments("a", "words")


@needs_real_rows("processbench_*.jsonl.gz")
def test_processbench_solutions_fall_into_their_steps(counted: Counted) -> None:
    """Joined by blank lines, as their generators wrote them."""
    rows = [
        json.loads(line)["steps"]
        for path in sorted(REAL_ROWS.glob("processbench_*.jsonl.gz"))
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]
    same = sum(steps("\n\n".join(row)) == row for row in rows)
    counted(f"ProcessBench solutions that fall into their own steps: {same} of {len(rows)}")
    assert len(rows) == 892
    assert same == len(rows)


def test_no_text_takes_square_time() -> None:
    """Seconds at most for a megabyte of what could be scanned again and again; cut in halves they would take hours."""
    for piece in ("!", ". ", "$", "\\(", "a. ", "\n \r", "e.g. ", "$5 ", " ", "\r", "# Answer\n"):
        text = piece * (200_000 // len(piece)) + "x\n\ny"
        for rule in RULES:
            assert "".join(segments(text, rule)) == text
