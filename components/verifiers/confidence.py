"""The generator's own confidence in its solutions, read in one forward pass: a verifier that needs no training.

It departs from DeepConf, which takes the probabilities while it samples: here any causal model reads any solutions, its
own or another's. Probabilities are at temperature 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from components.dataflow.stage import MapStage, Model
from components.models.chat_template import apply_chat_template
from components.models.model_folder import read_tokenizer_config
from components.statistics.confidence import LIKELIEST, MEASURES, TokenProbabilities, measures
from components.text.rendering import Rendered, end_of_turn_ids, join_steps, render
from components.verifiers.heads import NO_NUMBER, open_whole_model
from schemas.settings import Dtype, settings
from schemas.verifiers import CONFIDENCE_SCORES

if TYPE_CHECKING:
    from torch import Tensor

_LOGITS_AT_ONCE = 2**27  # numbers, of which a few copies are made: 0.5 GB each in float32
CHAT, PLAIN = "chat", "plain"


@settings
class ConfidenceConfig:
    """Settings of the generator's confidence."""

    dtype: Dtype = "float32"  # arithmetic
    window: PositiveInt = 2048  # tokens of a group (DeepConf)
    # plain: problem, blank line, solution, as the generators here write; chat: the model's own chat template; auto:
    # chat where the folder has one.
    prompt: Literal["auto", "chat", "plain"] = "auto"


def confidence(config: ConfidenceConfig, generator: Model, name: str = "confidence_scores") -> MapStage:
    """The stage solutions → confidence_scores."""
    return MapStage(
        name,
        version=2 if config.prompt == CHAT or (config.prompt == "auto" and _has_template(generator)) else 1,
        config=config,
        schema=CONFIDENCE_SCORES,
        make_worker=Confidence,
        models={"generator": generator},
        engines=("torch", "transformers"),
        place="scorers",
    )


def _has_template(generator: Model) -> bool:
    """Tell whether a model's folder has a chat template, as far as names and a local tokenizer_config.json tell."""
    folder = Path(generator.path)
    local = read_tokenizer_config(folder) if (folder / "tokenizer_config.json").is_file() else {}
    return "chat_template.jinja" in generator.files or bool(local.get("chat_template"))


class Confidence:
    """The actor of the stage: one causal model, fed a shard of solutions at a time."""

    def __init__(self, config: ConfidenceConfig, models: dict[str, Path]) -> None:
        from transformers import AutoModelForCausalLM

        from components.models.layers_on_gpus import on_devices
        from components.models.model_folder import open_tokenizer
        from components.training.loop import SelectiveLogits

        self.config = config
        self.tokenizer = open_tokenizer(models["generator"])
        model = open_whole_model(AutoModelForCausalLM, models["generator"], config.dtype)
        self.max_tokens = int(model.config.get_text_config().max_position_embeddings)
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self.logits = on_devices(SelectiveLogits(model, self.max_tokens), model)
        self.device = next(self.logits.parameters()).device

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row per solution, with each measure."""
        rows = table.to_pylist()
        output: list[dict[str, Any]] = [
            {name: row[name] for name in ("problem_id", "sample_index", "split", "error")}
            | dict.fromkeys([*MEASURES, "num_tokens"])
            for row in rows
        ]
        readable = [index for index, row in enumerate(rows) if row["error"] is None and row["steps"]]
        rendered = self._render([rows[index] for index in readable])
        fitting = []
        for index, solution in zip(readable, rendered, strict=True):
            output[index]["num_tokens"] = len(solution.ids)
            if len(solution.ids) > self.max_tokens:
                long = f"too long: {len(solution.ids)} tokens, and the generator reads {self.max_tokens}"
                output[index]["error"] = long
            elif len(solution.ids) == solution.prompt_length:
                output[index]["error"] = "the solution has no tokens"
            else:
                fitting.append((index, solution))
        for index, tokens in self._read(fitting):
            found = measures(tokens, self.config.window)
            sound = all(math.isfinite(value) for value in found.values())
            output[index] |= found if sound else {"error": NO_NUMBER}
        return pa.Table.from_pylist(output, schema=CONFIDENCE_SCORES)

    def _render(self, rows: Sequence[Mapping[str, Any]]) -> list[Rendered]:
        problems, steps = [row["problem"] for row in rows], [row["steps"] for row in rows]
        finished = [row["finish_reason"] == "stop" for row in rows]
        has_template = bool(getattr(self.tokenizer, "chat_template", None))
        if self.config.prompt == PLAIN or (self.config.prompt == "auto" and not has_template):
            return render(self.tokenizer, problems, steps, finished)
        eos = self.tokenizer.eos_token_id
        end = end_of_turn_ids(self.tokenizer) or (() if eos is None else (eos,))
        return [
            _render_chat(self.tokenizer, row["problem"], row["text"] or join_steps(row["steps"]), end if ended else ())
            for row, ended in zip(rows, finished, strict=True)
        ]

    def _read(self, solutions: Sequence[tuple[int, Rendered]]) -> Iterator[tuple[int, TokenProbabilities]]:
        """Yield (index, what the model says of the solution's tokens), solutions of like length packed together."""
        import torch

        from components.training.loop import micro_batches, row_tokens
        from components.training.packed_attention import pack
        from components.training.prefix_tree import prefix_tree

        lengths = np.array([len(solution.ids) for _, solution in solutions], dtype=np.int64)
        budget = max(1, min(row_tokens(self.device), _LOGITS_AT_ONCE // self.vocabulary))
        for part in micro_batches(lengths, np.argsort(lengths, kind="stable"), budget):
            chosen = [solutions[place] for place in part]
            starts = np.cumsum([0, *lengths[part]])
            at = [
                np.arange(solution.prompt_length - 1, len(solution.ids) - 1) + start
                for (_, solution), start in zip(chosen, starts, strict=False)
            ]
            ids = [token for _, solution in chosen for token in solution.ids[solution.prompt_length :]]
            with torch.inference_mode():
                row = pack([prefix_tree([solution.ids]) for _, solution in chosen], self.device)
                places = torch.from_numpy(np.concatenate(at)).to(self.device)
                found = _token_probabilities(self.logits(row, places), torch.tensor(ids, device=self.device))
            cuts = np.cumsum([len(each) for each in at])[:-1]
            for (index, _), values in zip(chosen, np.split(found, cuts), strict=True):
                yield index, TokenProbabilities(values[:, 0], values[:, 1], values[:, 2])


def _token_probabilities(logits_TV: Tensor, ids_T: Tensor) -> np.ndarray:
    """Return log-probability, confidence and certainty of each token, shape (T, 3)."""
    import torch

    log_probabilities_TV = logits_TV.float().log_softmax(-1)
    vocabulary = log_probabilities_TV.shape[-1]
    own_T = log_probabilities_TV.gather(-1, ids_T[:, None])[:, 0]
    confidence_T = -log_probabilities_TV.topk(min(LIKELIEST, vocabulary), -1).values.mean(-1)
    certainty_T = -log_probabilities_TV.mean(-1) - np.log(vocabulary)
    return torch.stack([own_T, confidence_T, certainty_T], -1).cpu().numpy()


def _render_chat(tokenizer: Any, problem: str, text: str, end: Sequence[int]) -> Rendered:
    """Render a problem as the user's turn and a solution as the model's, by the tokenizer's own template.

    end: what closes a turn that is finished: a solution that was cut did not write it.
    """
    question = [{"role": "user", "content": problem}]
    prompt = str(apply_chat_template(tokenizer, question, add_generation_prompt=True, tokenize=False))
    prompt_ids, ids = tokenizer([prompt, text], add_special_tokens=False)["input_ids"]
    return Rendered([*prompt_ids, *ids, *end], len(prompt_ids), [])
