"""A reward model that scores solutions: one trained here, or one of a style (`style.py`).

Verifier(folder).score([(problem, steps), …])                                                      of texts
Verifier(folder).step_probabilities([{"problem": …, "steps": […], "finish_reason": "stop"}])      of rows
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForTokenClassification

from components.models.layers_on_gpus import on_devices
from components.models.model_folder import open_tokenizer
from components.statistics.score_reduction import PAPER_NEUTRAL, PAPER_REDUCTION, solution_score
from components.text.rendering import Rendered, render
from components.training.loop import SelectiveLogits, predict
from components.training.prefix_tree import PrefixTree, prefix_tree
from components.verifiers.folder_checks import check_convention, check_verifier_folder, open_checked_folder
from components.verifiers.gated_head import gated_score
from components.verifiers.heads import NO_NUMBER, open_reference, open_styled_model, open_whole_model
from components.verifiers.log_ratio import answer_log_probabilities, summed_at_steps
from components.verifiers.solutions_to_score import Solution, SolutionScores, solution_rows
from components.verifiers.style import OURS, Style, read_style
from components.verifiers.style_scores import class_probabilities, style_score
from components.verifiers.styled_rendering import StyledText, render_styled


@dataclass(frozen=True)
class Reading:
    """What a verifier reads of one solution.

    step_probabilities: shape (steps, 3), of the classes negative, neutral, positive; None for an outcome verifier.
    score: the solution's, higher is better; of a style as its authors compute it, so it may be no probability.
    """

    step_probabilities: NDArray[Any] | None
    score: float
    num_tokens: int


class Verifier:
    """A reward model in evaluation mode, on a GPU where there is one, or its layers on as many as its weights need.

    style: "stepverify", the name of a style of ours, the path of a style's file, or a style. base: the folder of an
    adapter's base model. reference: the folder of the reference model, for a style that reads a log-ratio. Raises
    ValueError for a folder that is not of the style.
    """

    def __init__(
        self,
        folder: Path,
        style: str | Style = OURS,
        dtype: str = "float32",
        base: Path | None = None,
        reference: Path | None = None,
    ) -> None:
        self.style = None if style == OURS else read_style(style) if isinstance(style, str) else style
        head = None
        if self.style is None:
            check_verifier_folder(OURS, folder, base, reference)
            model = open_whole_model(AutoModelForTokenClassification, folder, dtype)
            self.kind = "outcome" if check_convention(folder, model.config.to_dict()) == "orm" else "process"
            self.tokenizer = open_tokenizer(folder)
        else:
            self.tokenizer = open_checked_folder(self.style, folder, base, reference)
            model, head = open_styled_model(self.style, folder, self.tokenizer, dtype, base)
            self.kind = self.style.kind
        self.max_tokens = _max_tokens(model)
        self.num_embeddings = model.get_input_embeddings().num_embeddings
        self.padding_id = getattr(model.config, "pad_token_id", None)
        self.reference: Any = None
        if self.style is not None and self.style.needs_reference:
            assert reference is not None
            self._vocabulary = head
            other, self._reference_vocabulary = open_reference(reference, dtype)
            self.max_tokens = min(self.max_tokens, _max_tokens(other))
            self.num_embeddings = min(self.num_embeddings, other.get_input_embeddings().num_embeddings)
            self.reference = on_devices(SelectiveLogits(other, self.max_tokens, torch.nn.Identity()), other)
            head = torch.nn.Identity()
        self.logits = on_devices(SelectiveLogits(model, self.max_tokens, head), model)

    def score(self, solutions: Iterable[Solution]) -> SolutionScores:
        """Return the step probabilities and the score of each solution.

        solutions: (problem, steps) pairs, or mappings with problem, steps and, where there is one, finish_reason and
        text. Raises ValueError, which names index and field, for what is no solution and for a solution that the model
        cannot read, as one that is too long. Nothing is computed before all solutions are checked.
        """
        rows = solution_rows(solutions)
        rendered = self._render(rows)
        reasons = {index: reason for index, reason in enumerate(rendered) if isinstance(reason, str)}
        if reasons:
            index = min(reasons)
            more = f" ({len(reasons)} of {len(rows)} solutions cannot be read)" if len(reasons) > 1 else ""
            raise ValueError(f"solution {index}: problem and steps: {reasons[index]}{more}")
        readings = cast(list[Reading], self._readings(rows, rendered))  # there is no reason left
        scores = np.array([reading.score for reading in readings], dtype=np.float64)
        if self.kind == "outcome":
            return SolutionScores(None, scores)
        return SolutionScores([cast(NDArray[Any], reading.step_probabilities) for reading in readings], scores)

    def step_probabilities(self, rows: Sequence[Mapping[str, Any]]) -> list[np.ndarray | str]:
        """Return each solution's class probabilities at its steps' ends, or the reason why there are none.

        rows: problem, steps, finish_reason. Shape of each result: (steps, classes). Where a style has no neutral class
        P(neutral) is 0. Solutions of one problem share the tokens with which they begin alike. Raises ValueError for an
        outcome style, which has no steps.
        """
        if self.style is not None and self.style.kind == "outcome":
            raise ValueError(f"the style {self.style.name} scores whole solutions: it has no step probabilities")
        values = self._values(rows, self._render(rows))
        if self.style is None:
            return values
        return [one if isinstance(one, str) else class_probabilities(self.style, one) for one in values]

    def read(self, rows: Sequence[Mapping[str, Any]]) -> list[Reading | str]:
        """Return each solution's reading, or the reason why there is none.

        rows: problem, steps, finish_reason and, for outcome styles, text, which is read in place of the steps if it is
        not empty.
        """
        return self._readings(rows, self._render(rows))

    def _readings(
        self, rows: Sequence[Mapping[str, Any]], rendered: Sequence[Rendered | StyledText | str]
    ) -> list[Reading | str]:
        readings: list[Reading | str] = []
        for text, values in zip(rendered, self._values(rows, rendered), strict=True):
            if isinstance(values, str) or isinstance(text, str):
                readings.append(str(values))
                continue
            probabilities = values if self.style is None else class_probabilities(self.style, values)
            if self.style is not None:
                score = style_score(self.style, values)
            elif self.kind == "outcome":
                score = float(values[-1, 1])
            else:
                score = solution_score(values, PAPER_REDUCTION, PAPER_NEUTRAL)
            readings.append(Reading(None if self.kind == "outcome" else probabilities, score, len(text.ids)))
        return readings

    def _values(
        self, rows: Sequence[Mapping[str, Any]], rendered: Sequence[Rendered | StyledText | str]
    ) -> list[np.ndarray | str]:
        """Return what is read at each place of each solution, shape (places, outputs), or why nothing is."""
        results: list[np.ndarray | str] = []
        by_problem: dict[str, list[int]] = {}
        for index, (row, solution) in enumerate(zip(rows, rendered, strict=True)):
            if isinstance(solution, str):
                results.append(solution)
            else:
                results.append("")
                by_problem.setdefault(row["problem"], []).append(index)
        groups: list[list[Any]] = [[rendered[index] for index in indices] for indices in by_problem.values()]
        trees = [prefix_tree([solution.ids for solution in group]) for group in groups]
        read = self._log_ratios if self.reference is not None else self._outputs
        for indices, values in zip(by_problem.values(), read(trees, groups), strict=True):
            for index, one in zip(indices, values, strict=True):
                results[index] = one if np.isfinite(one).all() else NO_NUMBER
        return results

    def _outputs(self, trees: list[PrefixTree], groups: list[list[Any]]) -> list[list[np.ndarray]]:
        """Return the head's outputs of each solution of each group, as probabilities but for a scalar."""
        at = [
            np.concatenate([tree.places[i][_places(solution)] for i, solution in enumerate(group)])
            for tree, group in zip(trees, groups, strict=True)
        ]
        is_scalar = self.style is not None and self.style.head.output == "scalar"
        found = []
        for group, values in zip(groups, predict(self.logits, trees, at, softmax=not is_scalar), strict=True):
            of_group = np.split(values, np.cumsum([len(_places(solution)) for solution in group])[:-1])
            is_gated = self.style is not None and self.style.head.layers == "gated"
            found.append([gated_score(one) for one in of_group] if is_gated else of_group)
        return found

    def _log_ratios(self, trees: list[PrefixTree], groups: list[list[Any]]) -> list[list[np.ndarray]]:
        assert self.style is not None
        assert self.style.head.beta is not None
        own = answer_log_probabilities(self.logits, self._vocabulary, trees, groups)
        reference = answer_log_probabilities(self.reference, self._reference_vocabulary, trees, groups)
        return [
            [
                summed_at_steps(text, logs - others, self.style.head.beta)[:, None]
                for text, logs, others in zip(*parts, strict=True)
            ]
            for parts in zip(groups, own, reference, strict=True)
        ]

    def _render(self, rows: Sequence[Mapping[str, Any]]) -> list[Rendered | StyledText | str]:
        """Return each solution's tokens and the places to read, or why the model cannot read it."""
        rendered: list[Rendered | StyledText | str] = []
        for solution in self._laid_out(rows):
            rendered.append(solution if isinstance(solution, str) else self._unreadable(solution.ids) or solution)
        return rendered

    def _unreadable(self, ids: Sequence[int]) -> str | None:
        if len(ids) > self.max_tokens:
            return f"too long: {len(ids)} tokens, and the reward model reads {self.max_tokens}"
        if max(ids) >= self.num_embeddings:
            has = f"the model has embeddings for {self.num_embeddings} tokens"
            return f"unknown token: it has the id {max(ids)}, and {has}"
        return None

    def _laid_out(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Rendered | StyledText | str]:
        if self.style is None:
            finished = [row["finish_reason"] == "stop" for row in rows]
            return render(self.tokenizer, [row["problem"] for row in rows], [row["steps"] for row in rows], finished)
        rendered: list[StyledText | str] = []
        for row in rows:
            try:
                solution = row["problem"], row["steps"], row.get("text")
                rendered.append(render_styled(self.style, self.tokenizer, *solution, self.padding_id))
            except ValueError as error:
                rendered.append(str(error))
        return rendered


def _max_tokens(model: Any) -> int:
    """Return how many tokens a model reads: its positions, or its sliding window, within which attention is full."""
    config = model.config.get_text_config()
    positions: int = config.max_position_embeddings
    return min(positions, getattr(config, "sliding_window", None) or positions)


def _places(solution: Rendered | StyledText) -> list[int]:
    return solution.step_ends if isinstance(solution, Rendered) else solution.read_at
