"""The card of a trained model (README.md in its folder): what it is, what its labels mean, where to read its scores,
and its metrics on validation problems.

Nothing in it depends on when or where training ran: equal trainings, equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.dataflow.train_executor import TrainingRun
from components.text.rendering import STEP_SEPARATOR, Tokenizer, separator_ids

_READ = """\
## Reading it

```python
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

model = AutoModelForTokenClassification.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)


def ids_of(text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


separator = ids_of("x" + {step_separator!r})[len(ids_of("x")) :]
ids, ends = ids_of(problem + {prompt_separator!r}), []
for index, step in enumerate(steps):
    ids += {step_ids}
    ids += [tokenizer.eos_token_id] if index == len(steps) - 1 else separator
    ends.append(len(ids) - 1)
probabilities = model(torch.tensor([ids])).logits[0, {where}].softmax(-1)  # columns: {labels}
```

A solution that was cut before its end closes with the separator instead of end-of-text. Attention: the model's own.
"""


def write_card(
    folder: Path, run: TrainingRun, tokenizer: Tokenizer, inputs: Mapping[str, str | None], metrics: Mapping[str, Any]
) -> None:
    """Write the card into a model's folder."""
    config = json.loads((folder / "config.json").read_text())
    convention = config.get("stepverify")
    kinds = {
        "generator": "The generator of solutions: one step a line, the answer in a section.",
        "orm": "An outcome-supervised reward model: the probability that a solution's final answer is right.",
        "prm": "A process-supervised reward model: for each step the probabilities that it is wrong, that it is right "
        "but adds nothing, and that it is right.",
    }
    lines = [
        "---",
        "library_name: transformers",
        *(["pipeline_tag: token-classification"] if convention else ["pipeline_tag: text-generation"]),
        "---",
        f"# {run.stage.name}",
        "",
        kinds[convention["kind"] if convention else "generator"],
        'Trained by Stepverify, after "Let\'s Verify Step by Step" (Lightman et al. 2023).',
        "",
        *(f"- started from {name}: {model.digest}" for name, model in run.stage.models.items()),
        *(f"- trained on {name}: {digest}" for name, digest in inputs.items()),
        *(f"- {name}: {_number(value)}" for name, value in sorted(metrics.items()) if _stays(name)),
        "",
    ]
    if convention:
        labels = ", ".join(config["id2label"][str(index)] for index in range(len(config["id2label"])))
        where = "-1:" if convention["kind"] == "orm" else "ends"
        separators = {name: convention[name] for name in ("prompt_separator", "step_separator")}
        # SentencePiece puts a space before every text; a step has none, as it stands on a line of its own.
        plain = tokenizer([STEP_SEPARATOR], add_special_tokens=False)["input_ids"][0] == separator_ids(tokenizer)
        separator = repr(STEP_SEPARATOR)
        step_ids = "ids_of(step)" if plain else f"ids_of({separator} + step)[len(ids_of({separator})) :]"
        lines.append(_READ.format(**separators, step_ids=step_ids, where=where, labels=labels))
    (folder / "README.md").write_text("\n".join(lines))


def _stays(name: str) -> bool:
    return name.startswith(("rows_", "labels_", "held_out_")) or name in ("steps", "best_step", "tokens_trained")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and value != int(value) else f"{int(value):,}"
