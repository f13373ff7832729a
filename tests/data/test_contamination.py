"""The contamination gate: the same problem in other dress is found, another problem is not."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from components.data.contamination import ContaminationConfig, contamination
from components.data.labelled_solutions import describe_labelled, labelled_solutions
from components.data.problem_files import describe_file
from components.data.problems import (
    ProblemFiles,
    check_disjoint,
    file_attributes,
    file_problems,
    file_rows,
    held_out_texts,
)
from components.dataflow.errors import InputError
from components.text.problem_matching import same_text
from flows import full_study
from flows.command_line import cli
from schemas.tables import PROBLEMS
from tests.real_rows import REAL_ROWS, needs_real_rows


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"What is $\dfrac{1}{2} + x$?", r"What  is \( \frac12+x \) ?"),
        (r"Find $\left( a, b \right)$ with $a \le 3.$", r"Find $(a,\,b)$ with $a\leq3$."),
        (r"Compute $\sin 60^\circ$, please.", r"Compute $\sin60^{\circ}$ please"),
        (r"The cost is \$1.24 in \text{ total}.", "the cost is \\$1.24\nin total"),
        (r"How many \emph{odd} numbers?", "How many odd numbers ?"),
        ("between $(0,3)$ and $(4,0)$", "between $(0, 3)$ and $(4,\\,0)$"),
        (r"of $10,\!000$ and $912{,}673$", "of 10,000 and 912,673"),
        (r"a price of \$5 and $50\%$", "a price of $5 and 50%"),
        (r"for $x \lt 5$ and $x^2$", "for $x<5$ and x²"),
        (r"Let $a \cdot b = 6$ and $\lvert a \rvert = 2$", r"Let $a\times b=6$ and $|a|=2$"),
    ],
)
def test_dress_does_not_matter(one: str, other: str) -> None:
    assert same_text(one) == same_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is $z^4 + z^2$?", "What is $z^4 - z^2$?"),
        (r"Compute $\tan 225^\circ$.", r"Compute $\tan 22.5^\circ.$"),
        (r"$88 \div 4 \div 2$", r"$88 \div (4 \div 2)$"),
        ("when $k > 0$", "when $k < 0$"),
        (r"when $k \le 0$", "when $k < 0$"),
        ("It costs 1,234 in all", "It costs 1234.0 in all"),
        (r"Find $\sqrt{2x}$", r"Find $\sqrt{2}x$"),
        ("Find $5!$", "Find $5$"),
        ("Find $f(1, 2)$", "Find $f(12)$"),
        ("Add 3, 4 and 5.", "Add 34 and 5."),
        ("Compute 2 3.", "Compute 23."),
        ("It is 5. 3 more", "It is 53 more"),
    ],
)
def test_what_is_said_does(one: str, other: str) -> None:
    assert same_text(one) != same_text(other)


def files(folder: Path, **splits: list[str]) -> tuple[ProblemFiles, dict[str, Path]]:
    paths = {}
    for split, problems in splits.items():
        paths[split] = folder / f"{split}.jsonl"
        paths[split].write_text("".join(json.dumps({"problem": p, "answer": "1"}) + "\n" for p in problems))
    return ProblemFiles(**{split: describe_file(path) for split, path in paths.items()}), paths


def test_the_same_problem_stops_a_study_or_is_left_out(tmp_path: Path) -> None:
    described, paths = files(tmp_path, train=["What is $1+1$?", "What is 5?"], test=["What is \\(1 + 1\\) ?"])
    with pytest.raises(InputError, match=r"test row 0 is the same problem as train row 0 .*--contaminated drop"):
        check_disjoint(file_rows(described, paths))
    dropping = ProblemFiles(described.train, described.test, drop_contaminated=True)
    stage = file_problems(dropping, paths)
    rows = pa.Table.from_pylist(stage.compute(dropping).to_pylist(), schema=PROBLEMS).to_pylist()
    assert [row["split"] for row in rows] == ["excluded", "train", "test"]
    assert [row["error"] for row in rows] == [None] * 3


def test_labelled_solutions_of_held_out_problems_stop_a_study_or_are_left_out(tmp_path: Path) -> None:
    held_out = {same_text("What is $1+1$?"): "test row 0"}
    path = tmp_path / "labelled.jsonl"
    rows = [{"problem": p, "steps": [{"text": "2", "rating": 1}]} for p in ("What is 5?", "What is $1 + 1$ ?")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"row 1 is a solution of a held-out problem \(test row 0"):
        describe_labelled([path], held_out)
    config = describe_labelled([path], held_out, drop_contaminated=True)[0]
    [table] = labelled_solutions(config, [path], held_out).compute(config)
    assert table["dropped"].to_pylist() == [None, "contaminated"]
    assert config != describe_labelled([path])[0]


def test_a_split_that_leaves_nothing_to_train_on_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, paths = files(tmp_path, train=["What is $5$?"], test=["What is 5?"])
    argv = [part for split, path in paths.items() for part in (f"--{split}-problems", str(path))]
    assert cli.run(full_study.full_study, [*argv, "--contaminated", "drop", "--plan", "--root", str(tmp_path)], "") == 2
    assert "every usable row is an evaluation problem" in capsys.readouterr().err


def test_an_excluded_problem_has_no_attributes(tmp_path: Path) -> None:
    described, paths = files(tmp_path, train=["What is $1+1$?", "What is 5?"], test=["What is 1 + 1?"])
    dropping = ProblemFiles(described.train, described.test, drop_contaminated=True)
    assert file_attributes(dropping, paths).compute(dropping)["split"].to_pylist() == ["train", "test"]


LONG = "A farmer has $12$ sheep and sells {} of them at the market on Monday morning. How many sheep are left now?"


def test_near_texts_are_listed(tmp_path: Path) -> None:
    described, paths = files(tmp_path, train=[LONG.format(3), "What is 5?"], test=[LONG.format(4), "What is 6?"])
    problems = file_problems(described, paths).compute(described)
    stage = contamination(ContaminationConfig(ngram=4, near_share=0.5))
    [row] = stage.compute(stage.config, problems=problems).to_pylist()
    assert (row["split"], row["source_row"], row["trained_row"], row["is_same"]) == ("test", 0, 0, False)
    # 22 tokens have 19 4-grams, of which the 4 with the number differ.
    assert row["overlap"] == pytest.approx(15 / 19)
    assert stage.compute(ContaminationConfig(ngram=4, near_share=0.8), problems=problems).num_rows == 0


def test_what_is_labelled_counts_as_trained_on(tmp_path: Path) -> None:
    described, paths = files(tmp_path, train=["What is 5?"], test=[LONG.format(4)])
    path = tmp_path / "labelled.jsonl"
    path.write_text(json.dumps({"problem": LONG.format(3), "steps": [{"text": "9", "rating": 1}]}))
    labelled_config = describe_labelled([path])[0]
    [labelled] = labelled_solutions(labelled_config, [path]).compute(labelled_config)
    stage = contamination(ContaminationConfig(ngram=4))
    problems = file_problems(described, paths).compute(described)
    [row] = stage.compute(stage.config, problems=problems, labelled_solutions=labelled).to_pylist()
    assert row["trained_on"] == "labelled solutions, file 0"


@needs_real_rows("math_train12k.jsonl.gz", "math_test500.jsonl.gz")
def test_real_math(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """PRM800K's split is taken whole, and a planted test problem is found in other dress."""
    paths = {"train": REAL_ROWS / "math_train12k.jsonl.gz", "test": REAL_ROWS / "math_test500.jsonl.gz"}
    described = ProblemFiles(**{split: describe_file(path) for split, path in paths.items()})
    rows = file_rows(described, paths)
    by_split = [sum(row["split"] == split for row in rows) for split in ("train", "test")]
    assert by_split == [12_000, 500]
    check_disjoint(rows)
    assert len(held_out_texts(rows)) == 500
    assert not set(held_out_texts(rows)) & {row["same_text"] for row in rows if row["split"] == "train"}
    assert [row["error"] for row in rows if row["error"]] == [f"row {at}: 'answer' is empty" for at in (7036, 7436)]
    assert [row["source_row"] for row in rows if row["attributes"]["level"] is None] == [2003, 2253]

    with gzip.open(paths["test"], "rt") as lines:
        planted = next(one for one in map(json.loads, lines) if "\\frac" in one["problem"])
    dressed = planted["problem"].replace("\\frac", "\\dfrac").replace(" ", "  ").replace("$", " $ ")
    train = tmp_path / "train.jsonl"
    with gzip.open(paths["train"], "rt") as lines:
        train.write_text("".join(lines) + json.dumps(planted | {"problem": dressed}) + "\n")
    argv = ["--plan", "--root", str(tmp_path / "out"), "--train-problems", str(train)]
    assert cli.run(full_study.full_study, [*argv, "--test-problems", str(paths["test"])], "") == 2
    said = capsys.readouterr().err
    assert "is the same problem as train row 12000" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.slow
@needs_real_rows("math_train12k.jsonl.gz", "math_test500.jsonl.gz")
def test_maths_own_folder_is_cut_as_prm800k_cuts_it(tmp_path: Path) -> None:
    """A file per problem, train and test together, as MATH was released; the 500 test problems are left out."""
    test = REAL_ROWS / "math_test500.jsonl.gz"
    answers: dict[str, str] = {}
    for name in ("math_train12k", "math_test500"):
        with gzip.open(REAL_ROWS / f"{name}.jsonl.gz", "rt") as lines:
            for row in map(json.loads, lines):
                path = tmp_path / row["unique_id"]
                path.parent.mkdir(parents=True, exist_ok=True)
                level = f"Level {row['level'] or '?'}"
                own = {"problem": row["problem"], "level": level, "type": row["subject"], "solution": row["solution"]}
                path.write_text(json.dumps(own))
                answers[row["problem"]] = row["answer"].strip()
    files = ProblemFiles(describe_file(tmp_path), describe_file(test), drop_contaminated=True)
    rows = file_rows(files, {"train": tmp_path, "test": test})
    assert Counter(row["split"] for row in rows) == {"train": 12_000, "excluded": 500, "test": 500}
    assert sum(row["error"] is not None for row in rows) == 2  # a box of nothing
    same = [row["ground_truth_answer"] == answers[row["problem"]] for row in rows if row["split"] == "train"]
    assert sum(same) >= 11_990
