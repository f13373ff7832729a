"""Scoring: both reward models read each solution once; probabilities of all classes are kept per step.

Paper §2.6: a step's score is P(neutral) + P(positive), and the solution's is the product over its steps. The other
reductions (appendix, table 4) are computed from the same columns by `solution_score`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.stage import MapStage, Model
from components.text_format import Rendered, render
from schemas.tables import SCORES


@dataclass(frozen=True)
class ScoringConfig:
    """How step probabilities become prm_score (paper: product, neutral as positive), and the arithmetic."""

    reduction: str = "product"  # product or min
    neutral: str = "positive"  # positive or negative
    dtype: str = "float32"


def solution_score(probabilities: np.ndarray, reduction: str, neutral: str) -> float:
    """A solution's score in [0, 1] from its steps' class probabilities, shape (steps, 3): negative, neutral, positive.

    product: exp Σ log p, min: the lowest p; with p = P(positive), plus P(neutral) where neutral counts as positive.
    """
    good = probabilities[:, 2] + (probabilities[:, 1] if neutral == "positive" else 0.0)
    if reduction == "product":
        return float(np.exp(np.log(np.clip(good, 1e-38, 1.0).astype(np.float64)).sum()))
    if reduction == "min":
        return float(good.min())
    raise ValueError(f"reduction {reduction!r}: product or min")


def score(config: ScoringConfig, orm: Model, prm: Model | None) -> MapStage:
    """The stage solutions → scores. Without a PRM its columns are null."""
    models = {"orm": orm} | ({"prm": prm} if prm is not None else {})
    return MapStage(
        "scores",
        version=1,
        config=config,
        schema=SCORES,
        make_worker=Score,
        models=models,
        engines=("torch", "transformers"),
    )


class Score:
    """The actor of the scoring stage: both models, one forward pass each per solution."""

    def __init__(self, config: ScoringConfig, models: dict[str, Path]) -> None:
        import torch
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        from components.training import LogitsAt

        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = AutoTokenizer.from_pretrained(models["orm"])
        self.models = {}
        for name, folder in models.items():
            model = AutoModelForTokenClassification.from_pretrained(folder, dtype=getattr(torch, config.dtype))
            self.models[name] = LogitsAt(model).to(self.device).eval()

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        rows = table.drop_columns(["text"]).to_pylist()
        scored = [i for i, row in enumerate(rows) if row["error"] is None and row["steps"]]
        rendered = render(
            self.tokenizer,
            [rows[i]["problem"] for i in scored],
            [rows[i]["steps"] for i in scored],
            [rows[i]["finish_reason"] == "stop" for i in scored],
        )
        orm = self._probabilities("orm", rendered, [[len(r.ids) - 1] for r in rendered])
        prm = self._probabilities("prm", rendered, [r.step_ends for r in rendered]) if "prm" in self.models else None
        output: list[dict[str, Any]] = [
            {name: row[name] for name in ("problem_id", "sample_index", "split", "error")}
            | {"orm_score": None, "prm_score": None, "step_probabilities": None}
            for row in rows
        ]
        for position, index in enumerate(scored):
            output[index]["orm_score"] = float(orm[position][0, 1])
            if prm is not None:
                output[index]["step_probabilities"] = prm[position].tolist()
                output[index]["prm_score"] = solution_score(prm[position], self.config.reduction, self.config.neutral)
        return pa.Table.from_pylist(output, schema=SCORES)

    def _probabilities(
        self, name: str, rendered: list[Rendered], positions: list[list[int]], token_budget: int = 8192
    ) -> list[np.ndarray]:
        """Class probabilities at each solution's positions, shape (positions, classes), in the order given."""
        import torch

        from components.training import micro_batches

        lengths = np.array([len(r.ids) for r in rendered], dtype=np.int64)
        results: dict[int, np.ndarray] = {}
        with torch.inference_mode():
            for part in micro_batches(lengths, np.arange(len(rendered)), token_budget):
                if not len(part):
                    continue
                width = int(lengths[part].max())
                ids_BT = torch.zeros(len(part), width, dtype=torch.long)
                for row, index in enumerate(part):
                    ids_BT[row, : lengths[index]] = torch.tensor(rendered[index].ids)
                flat = [row * width + at for row, index in enumerate(part) for at in positions[index]]
                logits_PC = self.models[name](ids_BT.to(self.device), torch.tensor(flat, device=self.device))
                probabilities_PC = logits_PC.float().softmax(-1).cpu().numpy()
                cuts = np.cumsum([len(positions[index]) for index in part])[:-1]
                results |= zip(part.tolist(), np.split(probabilities_PC, cuts), strict=True)
        return [results[i] for i in range(len(rendered))]
