"""A sample set: a study's graded samples as a folder for others, who compare their verifiers on the very same samples.

    samples.parquet     a row per sample: problem, reference, text, steps, answer, is_correct; scores of verifiers
    README.md           a card in Hugging Face's form: what it is, how it was sampled, how to read it
    sample_set.json     how it was sampled, and digests of the rows

`flows/compare_verifiers.py` reads the folder by its path, and from a hub.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.data.export_file import ExportFile
from components.data.sample_set_folder import ABOUT, CARD, ROWS
from components.dataflow.datasets import Dataset
from components.dataflow.errors import InputError
from components.dataflow.provenance import git_commit
from components.evaluation.scored_samples import models_of
from flows.study import StoredStudy
from schemas import exports
from schemas.tables import SAMPLE_KEY

_SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens", "max_thinking_tokens"),
    *("stop_texts", "prompt", "system_prompt", "thinking_markers", "steps_of"),
    *("dtype", "engine", "seed", "segmentation", "samples_per_problem"),
)


def write_sample_set(study: StoredStudy, split: str, out: Path) -> int:
    """Write the folder, whole or not at all. Return the number of rows. Raises InputError for a folder that is there.

    Every sample of the split is in it, also one without an answer: it fills its slot of N.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; give the name of a new folder")
    part = out.parent / f".{out.name}.{uuid.uuid4().hex}.tmp"
    try:
        part.mkdir(parents=True)
        verifiers, rows, problems = _write_rows(study, split, part)
        about = _about(study, split, verifiers, rows, problems)
        about["digest"] = hashlib.sha256((part / ROWS).read_bytes()).hexdigest()
        (part / ABOUT).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (part / CARD).write_text(_card(about), encoding="utf-8")
        part.rename(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return rows


def _write_rows(study: StoredStudy, split: str, folder: Path) -> tuple[list[str], int, int]:
    """Write the rows. Return the verifiers whose scores they have, the number of rows, and that of problems."""
    solutions, grades = (study.table(name).select(split=split) for name in ("solutions", "grades"))
    if not solutions.rows:
        raise InputError(f"study {study.name}: it has no samples of the split {split}")
    scores = _scores(study, split)
    verifiers = [name for name in scores[0] if name not in SAMPLE_KEY] if scores else []
    by_sample = {tuple(row[name] for name in SAMPLE_KEY): row for row in scores}
    rows, problems = 0, set()
    schema = exports.sample_set(verifiers, thinks="max_thinking_tokens" in _recipe(study).get("config", {}))
    with ExportFile(folder / ROWS, schema) as file:
        for part in _joined(study, solutions, grades):
            table = [_row(row, by_sample.get((row["problem_id"], row["sample_index"]), {}), verifiers) for row in part]
            file.write(table)
            rows += len(table)
            problems |= {row["problem_id"] for row in part}
    return verifiers, rows, len(problems)


def _joined(study: StoredStudy, solutions: Dataset, grades: Dataset) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each shard of solutions, with their grades."""
    columns = [*SAMPLE_KEY, "answer", "is_correct"]
    for left, right in zip(solutions.shards, grades.shards, strict=True):
        graded = study.store.read_shard(right, columns).to_pandas()
        joined = study.store.read_shard(left).to_pandas().merge(graded, on=SAMPLE_KEY, validate="one_to_one")
        yield joined.astype(object).where(joined.notna(), None).to_dict("records")


def _scores(study: StoredStudy, split: str) -> list[dict[str, Any]]:
    """Return the scores of the study's first trainings, a row per sample; none where nothing was scored."""
    if "scored_samples" not in study.index:
        return []
    table = study.store.read(study.table("scored_samples"))
    names = [f"{name}_score" for name in models_of(table)]
    frame = table.select([*SAMPLE_KEY, "split", "training_seed", *names]).to_pandas()
    frame = frame[(frame["split"] == split) & (frame["training_seed"] == 1)]
    return frame[[*SAMPLE_KEY, *names]].to_dict("records")


def _row(row: Mapping[str, Any], scores: Mapping[str, Any], verifiers: list[str]) -> dict[str, Any]:
    names = ("problem_id", "sample_index", "problem", "ground_truth_answer", "text", "answer", "finish_reason")
    given = {name: row[name] for name in names}
    given |= {"thinking": row["thinking"]} if "thinking" in row else {}
    given["steps"] = list(row["steps"])
    given["is_correct"] = row["is_correct"] is True
    if row["is_correct"] is None:  # never graded, so it is wrong and has no vote, whatever an equal answer is
        given["answer"] = None
    return given | {name: _number(scores.get(name)) for name in verifiers}


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _recipe(study: StoredStudy) -> dict[str, Any]:
    """Return the recipe that the solutions were sampled by."""
    manifest = study.store.manifest(study.table("solutions").folder) or {}
    return dict(manifest.get("recipe", {}))


def _about(study: StoredStudy, split: str, verifiers: list[str], rows: int, problems: int) -> dict[str, Any]:
    recipe = _recipe(study)
    config = recipe.get("config", {})
    return {
        "format": "stepverify sample set 1",
        "study": study.name,
        "split": split,
        "problems": problems,
        "samples": rows,
        "scores": verifiers,
        "sampling": {name: config[name] for name in _SAMPLING if name in config},
        "engines": recipe.get("engines", {}),
        "models": recipe.get("models", {}),
        "git_commit": git_commit(),
    }


def _in_one_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) and "\n" in value else str(value)


def _card(about: Mapping[str, Any]) -> str:
    sampling = "\n".join(f"- {name}: {_in_one_line(value)}" for name, value in about["sampling"].items())
    scores = ", ".join(f"`{name}`" for name in about["scores"]) or "none"
    return f"""\
---
pretty_name: {about["study"]} ({about["split"]})
tags: [stepverify, reward-model, best-of-n]
configs:
- config_name: default
  data_files: {ROWS}
---

# {about["samples"]:,} samples of {about["problems"]:,} problems

Samples of the study `{about["study"]}`, split `{about["split"]}`, graded by their final answers: a fixed set to compare
verifiers on. Every slot of N is there, also samples without an answer.

```sh
stepverify compare-verifiers FOLDER --verifier mine=MODEL_FOLDER,style=STYLE
```

Columns: `problem`, `ground_truth_answer`, `text`, `steps`, `answer`, `is_correct`, `finish_reason`. Scores: {scores}.

## How they were sampled

{sampling}

sha256 of `{ROWS}`: `{about["digest"]}`
"""
