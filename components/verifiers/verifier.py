"""A trained reward model that reads solutions: ours, or one as others published it.

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

    style: "stepverify", or one of `published_verifiers.STYLES`. Raises ValueError for a folder that is not of it.
    """

    def __init__(self, folder: Path, style: str = OURS, dtype: str = "float32") -> None:
        self.style = style
        head = None
        if style == OURS:
            model = open_model(AutoModelForTokenClassification, folder, dtype=getattr(torch, dtype))
            about = getattr(model.config, "stepverify", {})
            for name, value in {"prompt_separator": PROMPT_SEPARATOR, "step_separator": STEP_SEPARATOR}.items():
                if about.get(name) != value:
                    raise ValueError(f"{folder}: its config has {name} {about.get(name)!r}, not {value!r}")
            self.tokenizer = open_tokenizer(folder)
        else:
            published = open_published(style, folder, dtype)
            model, self.tokenizer, head = published.model, published.tokenizer, published.head
        window = getattr(model.config, "sliding_window", None)
        self.max_tokens = min(model.config.max_position_embeddings, window or model.config.max_position_embeddings)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.logits = SelectiveLogits(model, self.max_tokens, head).to(device).eval()

    def step_probabilities(self, rows: Sequence[Mapping[str, Any]]) -> list[np.ndarray | str]:
        """For each solution (problem, steps, finish_reason) the class probabilities at its steps' ends, shape (steps,
        classes), or why there are none. The two classes of a published PRM are negative and positive: its neutral is 0.

        Solutions of one problem share what they have in common from the start.
        """
        rendered = self._render(rows)
        results: list[np.ndarray | str] = []
        by_problem: dict[str, list[tuple[int, Rendered]]] = {}
        for index, (row, one) in enumerate(zip(rows, rendered, strict=True)):
            if isinstance(one, str):
                results.append(one)
            elif len(one.ids) > self.max_tokens:
                results.append(f"too long: {len(one.ids)} tokens, and the reward model reads {self.max_tokens}")
            else:
                results.append("")
                by_problem.setdefault(row["problem"], []).append((index, one))
        trees, at = [], []
        for group in by_problem.values():
            tree = prefix_tree([one.ids for _, one in group])
            trees.append(tree)
            at.append(np.concatenate([tree.places[i][one.step_ends] for i, (_, one) in enumerate(group)]))
        for group, found in zip(by_problem.values(), predict(self.logits, trees, at), strict=True):
            cuts = np.cumsum([len(one.step_ends) for _, one in group])[:-1]
            for (index, _), probabilities in zip(group, np.split(found, cuts), strict=True):
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
