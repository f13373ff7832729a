"""A trained reward model that scores solutions: one of ours, or one as others published it.

Verifier(folder).step_probabilities([{"problem": …, "steps": […], "finish_reason": "stop"}])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForTokenClassification

from components.models.model_folder import open_model, open_tokenizer
from components.text.rendering import PROMPT_SEPARATOR, STEP_SEPARATOR, Rendered, render
from components.training.loop import SelectiveLogits, predict
from components.training.prefix_tree import prefix_tree
from components.verifiers.published import OURS, open_published, render_published


class Verifier:
    """A reward model in evaluation mode, on a GPU where there is one.

    style: "stepverify", or one of `published.STYLES`. Raises ValueError for a folder that is not of it.
    """

    def __init__(self, folder: Path, style: str = OURS, dtype: str = "float32") -> None:
        self.style = style
        head = None
        if style == OURS:
            model = open_model(AutoModelForTokenClassification, folder, dtype=getattr(torch, dtype))
            convention = getattr(model.config, "stepverify", {})
            for name, value in {"prompt_separator": PROMPT_SEPARATOR, "step_separator": STEP_SEPARATOR}.items():
                if convention.get(name) != value:
                    raise ValueError(f"{folder}: its config has {name} {convention.get(name)!r}, not {value!r}")
            self.tokenizer = open_tokenizer(folder)
        else:
            published = open_published(style, folder, dtype)
            model, self.tokenizer, head = published.model, published.tokenizer, published.head
        window = getattr(model.config, "sliding_window", None)
        self.max_tokens = min(model.config.max_position_embeddings, window or model.config.max_position_embeddings)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.logits = SelectiveLogits(model, self.max_tokens, head).to(device).eval()

    def step_probabilities(self, rows: Sequence[Mapping[str, Any]]) -> list[np.ndarray | str]:
        """Return each solution's class probabilities at its steps' ends, or the reason why there are none.

        rows: problem, steps, finish_reason. Shape of each result: (steps, classes). The two classes of a published PRM
        are negative and positive: its P(neutral) is 0. Solutions of one problem share the tokens with which they begin
        alike.
        """
        rendered = self._render(rows)
        results: list[np.ndarray | str] = []
        by_problem: dict[str, list[tuple[int, Rendered]]] = {}
        for index, (row, solution) in enumerate(zip(rows, rendered, strict=True)):
            if isinstance(solution, str):
                results.append(solution)
            elif len(solution.ids) > self.max_tokens:
                results.append(f"too long: {len(solution.ids)} tokens, and the reward model reads {self.max_tokens}")
            else:
                results.append("")
                by_problem.setdefault(row["problem"], []).append((index, solution))
        trees, at = [], []
        for group in by_problem.values():
            tree = prefix_tree([solution.ids for _, solution in group])
            trees.append(tree)
            at.append(np.concatenate([tree.places[i][solution.step_ends] for i, (_, solution) in enumerate(group)]))
        for group, group_probabilities in zip(by_problem.values(), predict(self.logits, trees, at), strict=True):
            cuts = np.cumsum([len(solution.step_ends) for _, solution in group])[:-1]
            for (index, _), probabilities in zip(group, np.split(group_probabilities, cuts), strict=True):
                results[index] = probabilities if self.style == OURS else np.insert(probabilities, 1, 0.0, axis=1)
        return results

    def _render(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Rendered | str]:
        if self.style == OURS:
            finished = [row["finish_reason"] == "stop" for row in rows]
            return render(self.tokenizer, [row["problem"] for row in rows], [row["steps"] for row in rows], finished)
        rendered: list[Rendered | str] = []
        for row in rows:
            try:
                rendered.append(render_published(self.style, self.tokenizer, row["problem"], row["steps"]))
            except ValueError as error:
                rendered.append(str(error))
        return rendered
