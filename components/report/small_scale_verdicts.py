"""The small-scale study's answers in words (paper §4)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from components.report.main_study import Row, records
from components.report.parts import percent
from components.report.small_scale import at_largest_n, at_largest_size, in_order, times
from components.report.verdicts import LEVEL, Family, correction, holm
from schemas.small_scale import FEWEST_TRAININGS, SUPERVISIONS

_IN_SENTENCES = {
    "process": "process supervision",
    "outcome_prm": "outcome supervision by the labeller",
    "outcome_final_answer": "outcome supervision by the final answer",
    "active": "active learning",
    "uncertainty": "labelling the least certain solutions first",
    "top_k": "labelling the highest scores first",
    "iterated": "active learning in rounds",
}
_FIRST = [("process", "outcome_final_answer"), ("process", "outcome_prm")]  # the study's own question
_PAPERS_EFFICIENCY = 2.6
_FEWEST_PROBLEMS = 5  # fewer problems support no verdict, however alike their differences are


def _in_sentence(series: str) -> str:
    return _IN_SENTENCES.get(series, series)


def scaling_verdicts(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the study's answers in words, from the tables that are there.

    frames: series_comparisons, equivalent_labels (with data_efficiency), selector_quality, wrong_shares, rounds (with
    data_scaling), label_budget → their rows.
    """
    sentences = _of_comparisons_and_equivalents(frames)
    for name, sentences_of in (
        ("data_efficiency", _of_lines),
        ("selector_quality", _of_selectors),
        ("wrong_shares", _of_shares),
        ("rounds", _of_rounds),
        ("label_budget", _of_labels),
    ):
        if name in frames and len(frames[name]):
            sentences += sentences_of(frames)
    return [sentence[0].upper() + sentence[1:] for sentence in sentences]


def _of_comparisons_and_equivalents(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the sentences that claim a difference, with Holm's correction for all of them, and a line on it."""
    compared = _comparisons(frames["series_comparisons"]) if "series_comparisons" in frames else []
    equivalents = _equivalents(frames["equivalent_labels"]) if "equivalent_labels" in frames else []
    judged = [row for row in equivalents if row["outside"] != "no_rise"]
    p_values = holm([row["p_value"] for row in [*compared, *judged]])
    families = iter([Family(p, len(p_values)) for p in p_values])
    sentences = [_compared(row, next(families)) for row in compared]
    for row in equivalents:
        if row["outside"] == "no_rise":
            name = _in_sentence(row["series"])
            why = "process supervision was not seen to gain from more labels"
            sentences.append(f"what the labels of {name} are worth is not known: {why}")
        else:
            tell = _outside if isinstance(row["outside"], str) else _equivalent
            sentences.append(tell(row, next(families)))
    lines = correction(len(p_values))
    return [*sentences, *(f"{line}; so for fewer and more labels" if judged else line for line in lines)]


def _comparisons(frame: pd.DataFrame) -> list[Row]:
    """Return the row of each pair at the largest size that it has."""
    rows = records(frame)
    last = {(row["series"], row["baseline"]): row for row in sorted(rows, key=lambda row: row["size"])}
    pairs = dict.fromkeys([*_FIRST, *((row["series"], row["baseline"]) for row in rows)])
    return [last[pair] for pair in pairs if pair in last]


def _compared(row: Row, family: Family) -> str:
    """Return a paired difference in words, of the median training."""
    points, low, high = (100 * row[name] for name in ("median_training", "ci_low", "ci_high"))
    series, baseline = (_in_sentence(row[name]) for name in ("series", "baseline"))
    where = f"at {row['size']} solutions per problem and N = {row['n']}"
    is_clear = row["num_problems"] >= _FEWEST_PROBLEMS and (low > 0 or high < 0)
    if is_clear and family.p_value <= LEVEL:
        sentence = f"{series} {'beats' if low > 0 else 'loses to'} {baseline} {where} by {abs(points):.1f} points"
        low, high = (-high, -low) if high < 0 else (low, high)
    else:
        why = ""
        if is_clear:
            why = f"; the interval alone excludes 0; not after Holm's correction for {family.sentences} sentences"
        sentence = f"{series} shows no clear difference from {baseline} {where} ({points:+.1f} points{why})"
    sentence += f", 95 % interval {low:.1f} to {high:.1f}, {row['num_problems']} problems; "
    if row["num_seeds"] < FEWEST_TRAININGS:
        trained = "this training" if row["num_seeds"] == 1 else f"the mean of these {row['num_seeds']} trainings"
        return f"{sentence}of {trained} alone: others can differ by more"
    return (
        f"{sentence}median of {row['num_seeds']} trainings, standard deviation over them "
        f"{100 * row['std_over_seeds']:.1f}"
    )


def _equivalents(frame: pd.DataFrame) -> list[Row]:
    """Return each policy's row at the largest size where the labels of equal accuracy were measured, and at its
    largest where that is above or below what was measured, or where there is no other."""
    rows = frame[frame["unit"] == "step_labels"]
    told = []
    for series in in_order(rows):
        own = rows[rows["series"] == series].sort_values("size")
        within, last = records(own[own["outside"].isna()]), records(own)[-1]
        told += within[-1:]
        if not within or last["outside"] in ("above", "below"):
            told.append(last)
    return told


def _outside(row: Row, family: Family) -> str:
    """Return in words that a policy's labels are worth more, or less, than any that were measured, or may be."""
    name, side = _in_sentence(row["series"]), "less" if row["outside"] == "below" else "more"
    interval = _between(row["efficiency_low"], row["efficiency_high"])
    bound = f" (95 % interval of their worth: {interval})" if interval else ""
    where = f"at {row['size']} solutions per problem and with {_spent(row)}"
    if row["num_problems"] >= _FEWEST_PROBLEMS and family.p_value <= LEVEL:
        return (
            f"{name} is, {where}, {side} accurate than process supervision with any labels that were measured: what "
            f"its labels are worth is outside{bound}"
        )
    return (
        f"{name} shows, {where}, no clear difference from process supervision with the labels that come nearest, and "
        f"its accuracy is {'below' if row['outside'] == 'below' else 'above'} all that were measured: what its labels "
        f"are worth is not known{bound}"
    )


def _spent(row: Row) -> str:
    return f"{row['labels']:,.0f} step labels ({row['selector_labels']:,.0f} of them the selector's alone)"


def _equivalent(row: Row, family: Family) -> str:
    """Return in words what a policy's labels are worth."""
    name, interval = _in_sentence(row["series"]), _between(row["efficiency_low"], row["efficiency_high"])
    worth = (
        f"at {row['size']} solutions per problem, its {_spent(row)} reach what {row['equivalent_labels']:,.0f} labels "
        f"of process supervision reach, {times(row['efficiency'])} as many (95 % interval "
        f"{interval or 'unknown: wider than what was measured'}; without the selector's "
        f"{times(row['efficiency_without_selector'])})"
    )
    fewer = bool(not pd.isna(row["efficiency_low"]) and row["efficiency_low"] > 1)
    more = bool(not pd.isna(row["efficiency_high"]) and row["efficiency_high"] < 1)
    is_clear = row["num_problems"] >= _FEWEST_PROBLEMS and (fewer or more)
    if is_clear and family.p_value <= LEVEL:
        return f"{name} needs {'fewer' if fewer else 'more'} labels than process supervision: {worth}"
    why = ""
    if is_clear:
        why = f"; the interval alone excludes 1; not after Holm's correction for {family.sentences} sentences"
    return f"{name} shows no clear difference from process supervision in the labels that it needs: {worth}{why}"


def _between(low: float, high: float) -> str:
    """Return an interval of factors in words; an end that is NaN lies outside of what was measured."""
    if pd.isna(low) and pd.isna(high):
        return ""
    if pd.isna(high):
        return f"{low:.1f} or more"
    return f"{high:.1f} or less" if pd.isna(low) else f"{low:.1f} to {high:.1f}"


def _of_lines(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Tell the paper's ratio of slopes as what it is, and lines that do not fit."""
    rows = records(frames["data_efficiency"])
    sentences = [_ratio_of_slopes(row) for row in rows if row["series"] not in SUPERVISIONS]
    misfits = [
        f"that of {_in_sentence(row['series'])} misses by {100 * row['largest_residual']:+.1f} points at "
        f"{row['largest_residual_size']} solutions per problem"
        for row in rows
        if row["lacks_fit"]
    ]
    tested = f"each of {len(rows)} lines tested by itself, at 5 %"
    return [*sentences, *([f"fitted lines do not fit: {', '.join(misfits)} ({tested})"] if misfits else [])]


def _ratio_of_slopes(row: Row) -> str:
    name = _in_sentence(row["series"])
    slopes = f"{100 * row['slope']:+.1f} against {100 * row['baseline_slope']:+.1f} points per doubling"
    what = "the ratio of slopes, which cannot see a constant factor,"
    if pd.isna(row["efficiency"]):
        return f"{what} of {name} is not known, since process supervision does not gain from more solutions ({slopes})"
    papers = f"; the paper found {_PAPERS_EFFICIENCY}" if row["series"] == "active" else ""
    interval = _between(row["efficiency_low"], row["efficiency_high"])
    interval = f"95 % interval {interval}" if interval else "no interval: process supervision does not clearly gain"
    return f"{what} of {name} to process supervision is {row['efficiency']:.1f} ({interval}{papers}), {slopes}"


def _of_selectors(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    rows = frames["selector_quality"]
    rows = rows[rows["series"] == rows["series"].iloc[0]]
    auc = rows["pool_auc"].dropna()
    if auc.empty:
        return []
    labelled = rows["labelled_auc"].dropna()
    by_labels = f", by the labeller's steps {labelled.mean():.2f}" if len(labelled) else ""
    several = f" (mean of {len(rows)} trainings, {auc.min():.2f} to {auc.max():.2f})" if len(rows) > 1 else ""
    return [
        f"the selector tells the right from the wrong answers of a problem's pool with an AUC of {auc.mean():.2f}"
        f"{several}, where 0.50 is chance{by_labels}; by itself it solves {100 * rows['accuracy'].mean():.1f} % at "
        f"N = {rows['n'].iloc[0]}, a single sample {100 * rows['single_sample'].mean():.1f} %"
    ]


def _of_shares(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    rows = frames["wrong_shares"].dropna(subset=["asked"])
    sentences = []
    for series in in_order(rows):
        own = rows[rows["series"] == series].sort_values("size")
        taken = ", ".join(percent(value) for value in own["convincing"])
        wrong = ", ".join(percent(value) for value in own["wrong_answer"])
        distinct = ", ".join(percent(value) for value in own["distinct"])
        sizes = ", ".join(map(str, own["size"]))
        sentences.append(
            f"of what {_in_sentence(series)} chose at {sizes} solutions per problem, {taken} % are convincing wrong "
            f"answers ({percent(own['asked'].iloc[0])} % were asked for); {wrong} % have a wrong answer in all, "
            f"and {distinct} % are no copy of another"
        )
    return sentences


def _of_rounds(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    rows = frames["rounds"]
    changes = rows.dropna(subset=["change"])
    if changes.empty:
        return []
    worst = records(changes.sort_values("change", kind="stable"))[0]
    falls = int((changes["change"] < 0).sum())
    sentence = "the loop of active learning that retrains its selector never lost accuracy from one round to the next"
    if falls:
        sentence = (
            f"the loop of active learning that retrains its selector lost accuracy in {falls} of {len(changes)} steps "
            f"from one round to the next, at most {-100 * worst['change']:.1f} points (round {worst['round']}, "
            f"training seed {worst['training_seed']})"
        )
    spreads = at_largest_size(at_largest_n(frames["data_scaling"])).set_index("series")["std_over_seeds"]
    spreads = spreads.dropna()
    if {"iterated", "active"} <= {*spreads.index}:
        sentence += (
            f"; standard deviation over training seeds {100 * spreads['iterated']:.1f} points, of choosing at once "
            f"{100 * spreads['active']:.1f}"
        )
    agreement = rows["selector_agreement"].dropna()
    if len(agreement):
        sentence += (
            f"; the selectors of successive rounds rank the pool alike to {agreement.mean():.2f} (rank correlation)"
        )
    return [sentence]


def _of_labels(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    rows = at_largest_size(frames["label_budget"]).dropna(subset=["gain_per_1000_labels"])
    by_series = {row["series"]: row for row in records(rows)}
    gained: list[str] = []
    more: list[str] = []
    for series in in_order(rows):
        row, name = by_series[series], _in_sentence(series)
        gained.append(f"{100 * row['gain_per_1000_labels']:.2f} points ({name}, {row['num_step_labels']:,.0f} labels)")
        if not pd.isna(row["next_1000_labels"]):
            more.append(f"{100 * row['next_1000_labels']:.2f} ({name})")
    if not gained:
        return []
    sentence = (
        f"per 1,000 step labels, best-of-N gained over a single sample {', '.join(gained)}, each at its largest size"
    )
    return [sentence + (f"; by the fitted lines the next 1,000 would add {', '.join(more)}" if more else "")]
