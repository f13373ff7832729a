"""report.html: hostile text stays text, numbers are those of the tables, and the size has a limit."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from components.report import solution_browser
from components.report.page import embedded, page
from components.report.sections import sections
from components.report.solution_browser import browser

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "a\u2028b",
    "&lt;b&gt;",
    "]]>",
]


def tables(problems: int = 10, slots: int = 6, text: str = "a step") -> dict[str, pa.Table]:
    """A PRM that knows what is right in half of the problems, and an ORM that always likes the last sample."""
    samples = []
    for problem in range(problems):
        for slot in range(slots):
            right = slot % 2 == 0
            knows = 0.9 if right == (problem % 2 == 0) else 0.1
            row: dict[str, Any] = {"problem_id": f"p{problem}", "sample_index": slot, "split": "test"}
            row |= {"candidate": slot % 2, "is_correct": right, "training_seed": 1, "prm_score": knows}
            row |= {"orm_score": slot / slots, "answer": str(right), "steps": [text, "# Answer\n\n1"]}
            samples.append(row | {"step_probabilities": [[1 - knows, 0.0, knows]] * 2, "ratings": [1]})
    frame = pd.DataFrame(samples)
    frame.loc[frame["sample_index"] == slots - 1, "candidate"] = np.nan
    known = frame[["problem_id", "split"]].drop_duplicates().assign(problem=text, ground_truth_answer="True")
    made = {
        "problems": known,
        "solutions": frame[["problem_id", "sample_index", "steps"]],
        "grades": frame[["problem_id", "sample_index", "answer"]],
        "scores": frame[["problem_id", "sample_index", "step_probabilities"]],
        "held_out_step_labels": frame[["problem_id", "sample_index", "ratings"]],
        "scored_samples": frame.drop(columns=["answer", "steps", "step_probabilities", "ratings"]),
    }
    return {name: pa.Table.from_pandas(rows, preserve_index=False) for name, rows in made.items()}


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_can_end_the_data_or_begin_markup(text: str) -> None:
    inert = embedded({"text": text, text: [text]})
    assert not re.search("[<>&\u2028\u2029]", inert)
    assert json.loads(inert) == {"text": text, text: [text]}


def test_a_page_lets_no_script_run_but_its_own() -> None:
    made = page({"title": "</title><script>alert(1)</script>", "$data": "${script}"}).decode()
    assert made.count("<script") == 2  # the data, and ours
    policy = re.search('Content-Security-Policy" content="([^"]+)"', made)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search("https?://(?!www.w3.org/2000/svg)", made)
    assert "innerHTML" not in made
    with pytest.raises(ValueError, match="JSON"):
        page({"value": float("nan")})
    page({"text": "lone \ud800 surrogate"})


def test_picks_are_those_of_the_scores_and_votes() -> None:
    found = browser(tables(), seed=0)
    assert (found["shown"], found["of"]) == (10, 10)
    assert found["methods"] == ["prm", "orm", "majority"]
    first, second = found["problems"][:2]
    assert first["picks"] == {"prm": 0, "orm": 4, "majority": 0}  # the last sample has no answer: it is never picked
    assert second["picks"] == {"prm": 1, "orm": 4, "majority": 0}
    assert first["samples"]["0"]["votes"] == 3
    assert first["samples"]["0"]["steps"][0] == ["a step", 0.9, 1]
    assert first["samples"]["0"]["steps"][1] == ["# Answer\n\n1", 0.9, None]
    assert first["passRate"] == 0.5
    assert {len(problem["samples"]) for problem in found["problems"]} <= {4, 5, 6}
    assert found == browser(tables(), seed=0)
    assert found["problems"] != browser(tables(), seed=1)["problems"]
    kinds = [example["kind"] for example in found["examples"]]
    assert kinds == ["false positive"] * 3  # no majority is wrong here, and no problem is hard


def test_more_than_the_budget_is_drawn_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solution_browser, "BUDGET", 4000)
    found, other = (browser(tables(40), seed=seed) for seed in (0, 1))
    assert 0 < found["shown"] < found["of"] == 40
    assert [one["id"] for one in found["problems"]] != [one["id"] for one in other["problems"]]


def test_sections_say_what_the_tables_hold() -> None:
    row = {"split": "test", "accuracy": 0.5, "ci_low": 0.4, "ci_high": 0.6, "num_problems": 8, "num_seeds": 1}
    curves = pd.DataFrame([row | {"method": m, "n": n} for m in ("prm", "mine", "pass") for n in (1, 2)])
    by_pass_rate = row | {"method": "prm", "n": 2, "grouping": "pass_rate", "num_tied": 1.5}
    groups = [by_pass_rate | {"group": g, "pass_rate": 0.3} for g in ("q1", "all")]
    differences = [{**group, "baseline": "orm", "difference": 0.1, "ci_low": -0.1} for group in groups]
    quality = {"split": "test", "model": "mine", "training_seed": 1, "within_problem_auc": 0.75}
    quality |= {"auc_low": 0.7, "auc_high": 0.8, "num_auc_problems": 6}
    quality |= {"length_correlation": float("nan"), "calibration_error": None, "calibration_error_low": None}
    quality |= {"calibration_error_high": None}
    steps = {"source": "test", "threshold": 0.2, "num_wrong": 9, "num_right": 0, "num_problems": 5}
    steps |= {"accuracy_wrong": 0.5, "accuracy_wrong_low": 0.3, "accuracy_wrong_high": 0.7}
    steps |= {f"{figure}{end}": None for figure in ("accuracy_right", "f1") for end in ("", "_low", "_high")}
    places = {"source": "test", "threshold": 0.2, "first_error": 1, "count": 4, "found": 2, "ci_low": 0.2}
    places |= {"ci_high": 0.8, "early": 1, "late": 1, "missed": 0}
    lengths = {"split": "test", "model": "mine", "num_steps": 3, "count": 8, "share_right": 0.5}
    made = sections(
        {
            "best_of_n": curves,
            "group_accuracy": pd.DataFrame(groups),
            "group_comparisons": pd.DataFrame(differences),
            "step_errors": pd.DataFrame([steps]),
            "first_errors": pd.DataFrame([places]),
            "score_quality": pd.DataFrame([quality]),
            "score_by_length": pd.DataFrame([lengths | {"mean_score": 0.2, "share_picked": 1.0}]),
            "attribute_shares": pd.DataFrame({"attribute": [], "value": [], "split": [], "count": [], "share": []}),
        }
    )
    assert [one["heading"] for one in made] == ["Best of N", "By difficulty", "What the scores mean", "First errors"]
    assert made[0]["charts"][0]["series"][0]["points"][0] == {"x": 1, "y": 50.0, "low": 40.0, "high": 60.0}
    assert made[0]["tables"][0]["rows"][0] == ["PRM", "50.0 (40.0 to 60.0)", "50.0 (40.0 to 60.0)"]
    assert "for these trained models" in made[0]["text"]
    accuracies, differed = made[1]["tables"]
    assert "so that ids decide between them: q1: 1.5 of 8" in accuracies["note"]
    assert differed["columns"] == ["quintile", "problems", "PRM − ORM"]
    assert differed["rows"] == [["q1", 8, "10.0 (-10.0 to 60.0)"], ["all", 8, "10.0 (-10.0 to 60.0)"]]
    assert made[2]["tables"][0]["rows"] == [["test", "mine", 1, "0.750 (0.700 to 0.800)", 6, "–", "–"]]
    assert made[3]["tables"][0]["rows"] == [["test", "0.2", 9, "50.0 (30.0 to 70.0)", 0, "–", "–"]]
    assert made[3]["tables"][1]["rows"] == [["test", 2, 4, 2, "50.0 (20.0 to 80.0)", 1, 1, 0]]
    json.dumps(made, allow_nan=False)
