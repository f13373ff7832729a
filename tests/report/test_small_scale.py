"""The small-scale study in words and figures, from made-up tables."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from components.report.page import page
from components.report.small_scale import scaling_verdicts, text_table
from components.report.small_scale_figures import figure_4a, figure_4b
from components.report.small_scale_sections import scaling_sections

SERIES = ("process", "outcome_prm", "outcome_final_answer", "active", "iterated")


def scaling(seeds: int = 3) -> pd.DataFrame:
    rows = []
    for place, series in enumerate(SERIES):
        for step, size in enumerate((1, 2, 4)):
            for n in (1, 4):
                accuracy = 0.6 - place / 50 + step / 25 if n == 4 else 0.4
                row: dict[str, Any] = {"series": series, "size": size, "n": n, "accuracy": accuracy}
                row |= {"ci_low": accuracy - 0.05, "ci_high": accuracy + 0.05, "num_seeds": seeds}
                row |= {"std_over_seeds": 0.01 + place / 1000 if seeds > 1 else None, "num_problems": 100}
                rows.append(row)
    return pd.DataFrame(rows)


def comparison(series: str, baseline: str, difference: float, low: float, high: float, size: int = 4) -> dict[str, Any]:
    row: dict[str, Any] = {"series": series, "baseline": baseline, "size": size, "n": 4, "difference": difference}
    return row | {"ci_low": low, "ci_high": high, "num_seeds": 3, "std_over_seeds": 0.012, "num_problems": 100}


def efficiency(series: str = "active", **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"series": series, "baseline": "process", "n": 4, "slope": 0.036, "baseline_slope": 0.02}
    row |= {"slope_low": 0.03, "slope_high": 0.04, "efficiency": 1.8, "efficiency_low": 1.3, "efficiency_high": 2.9}
    row |= {"equivalent_data": 2.2, "equivalent_low": 1.2, "equivalent_high": 5000.0}
    return row | {"share_no_rise": 0.001, "num_seeds": 3, "num_problems": 100} | more


def budget(series: str, labels: float, gain: float) -> dict[str, Any]:
    row: dict[str, Any] = {"series": series, "size": 4, "num_solutions": labels / 5, "num_step_labels": labels}
    row |= {"accuracy": 0.4 + gain, "gain": gain, "gain_per_1000_labels": 1000 * gain / labels if labels else None}
    row |= {"next_1000_labels": 0.004 if labels else None, "flops": 1e12}
    return row | dict.fromkeys(("tokens_sampled", "tokens_read", "tokens_labelled", "tokens_trained"), 1e5)


def loop() -> pd.DataFrame:
    about = {"training_seed": 2, "n": 4, "one_shot": 0.6, "share_wrong_answer": 0.5, "share_negative": None}
    rounds = [(1, 0.6, None, None), (2, 0.61, 0.01, 0.9), (3, 0.589, -0.021, 0.5)]
    return pd.DataFrame(
        [
            about | {"round": k, "size": k, "accuracy": accuracy, "change": change, "selector_agreement": agreement}
            for k, accuracy, change, agreement in rounds
        ]
    )


def frames() -> dict[str, pd.DataFrame]:
    compared = [
        comparison("process", "outcome_prm", 0.01, -0.02, 0.04),
        comparison("process", "outcome_final_answer", 0.031, 0.012, 0.05),
        comparison("process", "outcome_final_answer", -0.1, -0.2, -0.05, size=1),
        comparison("iterated", "active", -0.03, -0.05, -0.01),
    ]
    spent = [budget("process", 2000, 0.1), budget("outcome_final_answer", 0, 0.1), budget("active", 1000, 0.12)]
    return {
        "data_scaling": scaling(),
        "series_comparisons": pd.DataFrame(compared),
        "data_efficiency": pd.DataFrame([efficiency(), efficiency("process", efficiency=1.0)]),
        "label_budget": pd.DataFrame(spent),
        "rounds": loop(),
    }


def test_verdicts_say_what_is_clear_and_what_is_not() -> None:
    about = "100 problems; mean of 3 training seeds, standard deviation over them 1.2"
    assert scaling_verdicts(frames()) == [
        "Process supervision beats outcome supervision by the final answer at 4 solutions per problem and N = 4 by "
        f"3.1 points, 95 % interval 1.2 to 5.0, {about}",
        "Process supervision shows no clear difference from outcome supervision by the labeller at 4 solutions per "
        f"problem and N = 4 (+1.0 points), 95 % interval -2.0 to 4.0, {about}",
        "Active learning in rounds loses to active learning at 4 solutions per problem and N = 4 by 3.0 points, "
        f"95 % interval 1.0 to 5.0, {about}",
        "Active learning is 1.8 times as data-efficient as process supervision by the ratio of slopes (95 % interval "
        "1.3 to 2.9; the paper found 2.6), +3.6 against +2.0 points per doubling; at its largest size its labels are "
        "worth 2.2 times as many of process supervision's (1.2 times to over 1,000 times)",
        "The loop of active learning that retrains its selector lost accuracy in 1 of 2 steps from one round to the "
        "next, at most 2.1 points (round 3, training seed 2); standard deviation over training seeds 1.4 points, of "
        "choosing at once 1.3; the selectors of successive rounds rank the pool alike to 0.70 (rank correlation)",
        "Per 1,000 step labels, best-of-N gained over a single sample 5.00 points (process supervision, 2,000 labels), "
        "12.00 points (active learning, 1,000 labels), each at its largest size; by the fitted lines the next 1,000 "
        "would add 0.40 (process supervision), 0.40 (active learning)",
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            efficiency(efficiency_low=0.7),
            "Active learning shows no clear difference from process supervision in data efficiency",
        ),
        (efficiency("top_k", efficiency_low=0.7, efficiency_high=0.9), "Labelling the highest scores first is 1.8"),
        (
            efficiency(efficiency_low=None, efficiency_high=None, share_no_rise=0.12),
            "in 12 % of resamples process supervision does not gain",
        ),
        (efficiency(efficiency=None, efficiency_low=None), "is not known, since process supervision does not gain"),
    ],
)
def test_an_efficiency_that_cannot_be_told_is_not_told(row: dict[str, Any], said: str) -> None:
    [sentence] = scaling_verdicts({"data_efficiency": pd.DataFrame([row])})
    assert said in sentence
    assert ("2.6" in sentence) == (row["series"] == "active" and row["efficiency"] is not None)


def test_a_loop_that_never_falls() -> None:
    rounds = loop().query("round < 3")
    [said] = scaling_verdicts({"data_scaling": scaling(seeds=1), "rounds": rounds})
    assert said.startswith("The loop of active learning that retrains its selector never lost accuracy")
    assert "deviation" not in said


def test_the_page_holds_the_tables_and_is_written_without_a_browser() -> None:
    made = scaling_sections(frames())
    assert [one["heading"] for one in made] == [
        "Accuracy against data",
        "Comparisons",
        "Data efficiency",
        "What a label is worth",
        "Rounds of active learning",
    ]
    [against_data, against_n] = made[0]["charts"]
    assert against_data["from"] == 50
    assert against_data["series"][0]["points"][0] == pytest.approx({"x": 1, "y": 60.0, "low": 59.0, "high": 61.0})
    assert [line["kind"] for line in against_data["series"][5:]] == ["process_weighted", "active_weighted"]
    assert [point["x"] for point in against_n["series"][0]["points"]] == [1, 4]
    assert made[0]["tables"][0]["rows"][0][1] == "60.0 (55.0 to 65.0) ± 1.0"
    assert made[4]["tables"][0]["rows"][0][-1] == "–"
    content = {"title": "t", "heading": "h", "subtitle": "s", "verdicts": [], "notes": [], "sections": made}
    table = {"title": "", "note": "", "columns": [], "rows": []}
    assert b'"browser":null' in page(content | {"browser": None, "provenance": {"text": "", "table": table}})
    json.dumps(made, allow_nan=False)
    one_seed = scaling_sections({"data_scaling": scaling(seeds=1)})
    assert set(one_seed[0]["charts"][0]["series"][0]["points"][0]) == {"x", "y"}
    assert one_seed[0]["tables"][0]["rows"][0][1] == "60.0 (55.0 to 65.0)"


def test_the_terminals_table_and_the_figures() -> None:
    head, process, *_ = text_table(scaling()).splitlines()
    assert head.split() == "solutions per problem 1 2 4 95 % at the largest".split()
    assert process.split() == "Process, by the labeller 60.0 64.0 68.0 63.0 to 73.0, ± 1.0 over seeds".split()
    assert "over seeds" not in text_table(scaling(seeds=1))
    for rows in (scaling(), scaling(seeds=1), scaling().query("size == 1")):
        for picture in (figure_4a(rows), figure_4b(rows)):
            assert picture.startswith(b"\x89PNG\r\n\x1a\n")
