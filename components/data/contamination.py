"""The contamination gate: evaluation problems against everything that is trained on (paper §2.1 and its appendix: strip
LaTeX, match n-grams).

Two steps. An evaluation problem that equals a training text after normalisation (spacing, LaTeX that only sets text,
sentence punctuation, case) stops a study before it starts, or is left out of training. One that shares many n-grams
with a training text is listed, for people to judge: the paper does not give its n, and of MATH's 500 many are honest
variations of a train problem.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pydantic import PositiveInt

from components.dataflow.stage import TableStage
from components.text.problem_matching import plain_text, same_text
from schemas.results import CONTAMINATION
from schemas.settings import Share, settings

_TOKEN = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")


@settings
class ContaminationConfig:
    """Length of n-grams, and the share of them from which a problem is listed."""

    ngram: PositiveInt = 8  # tokens: words, numbers and signs
    near_share: Share = 0.5  # of an evaluation problem's n-grams in one training text, from which it is listed


def contamination(config: ContaminationConfig) -> TableStage:
    """Make the stage (problems, labelled_solutions, graded_solutions) → evaluation problems near a training text."""
    columns = ["problem", "source_file", "source_row", "dropped", "error"]
    reads = {"labelled_solutions": columns, "graded_solutions": columns}
    return TableStage("contamination", 1, config, CONTAMINATION, _contamination, reads=reads)


def _contamination(config: ContaminationConfig, problems: pa.Table, **solutions: pa.Table) -> pa.Table:
    rows = problems.to_pylist()
    evaluated = [row for row in rows if row["split"] in ("test", "ood") and row["error"] is None]
    trained = [row | {"trained_on": "train problems"} for row in rows if row["split"] == "train" and not row["error"]]
    for name, table in solutions.items():
        for row in table.to_pylist():
            if row["error"] is None and row["dropped"] is None:
                trained.append(row | {"trained_on": f"{name.replace('_', ' ')}, file {row['source_file']}"})
    once: dict[str, Mapping[str, Any]] = {}
    for row in trained:
        once.setdefault(row["problem"], row)
    near = list(_near(config, evaluated, once.values()))
    return pa.Table.from_pylist(sorted(near, key=lambda row: -row["overlap"]), schema=CONTAMINATION)


def _near(
    config: ContaminationConfig, evaluated: list[dict[str, Any]], trained: Iterable[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield a row for each evaluation problem with a near training text: the nearest."""
    grams = [_ngrams(row["problem"], config.ngram) for row in evaluated]
    holders: dict[tuple[str, ...], list[int]] = {}
    for place, ngrams in enumerate(grams):
        for gram in ngrams:
            holders.setdefault(gram, []).append(place)
    best: dict[int, tuple[float, Mapping[str, Any]]] = {}
    for trained_row in trained:
        shared: Counter[int] = Counter()
        for gram in _ngrams(trained_row["problem"], config.ngram):
            shared.update(holders.get(gram, ()))
        for place, count in shared.items():
            overlap = count / len(grams[place])
            if overlap >= config.near_share and overlap > best.get(place, (0.0, {}))[0]:
                best[place] = overlap, trained_row
    for place, (overlap, trained_row) in best.items():
        row = evaluated[place]
        yield {
            **{name: row[name] for name in ("problem_id", "split", "source_row", "problem")},
            "trained_on": trained_row["trained_on"],
            "trained_row": trained_row["source_row"],
            "trained_problem": trained_row["problem"],
            "overlap": overlap,
            "is_same": same_text(row["problem"]) == same_text(trained_row["problem"]),
            "error": None,
        }


def _ngrams(problem: str, size: int) -> set[tuple[str, ...]]:
    """Return the n-grams of a problem's words, numbers and signs; a shorter text is one n-gram."""
    tokens = _TOKEN.findall(plain_text(problem).replace("\\", " "))
    return {tuple(tokens[at : at + size]) for at in range(max(1, len(tokens) - size + 1))}
