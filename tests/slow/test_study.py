"""The smoke study with real Ray, vLLM and training: whole, again, grown, and on the user's own files."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.sampling.grading import grade
from flows import full_study
from tests.real_rows import REAL_ROWS, needs_real_rows
from tests.slow.conftest import explained, index, run_study, sample_ids, summary, table

pytestmark = pytest.mark.slow


def test_tables_agree_with_each_other(smoke: Path) -> None:
    problems, solutions, grades = (table(smoke, name) for name in ("problems", "solutions", "grades"))
    wanted = {"train": 2, "test": 8, "new_facts": 4, "ood": 4}
    for split, count in wanted.items():
        rows = solutions[solutions["split"] == split]
        assert len(rows) == count * (problems["split"] == split).sum()
        assert (rows.groupby("problem_id")["sample_index"].nunique() == count).all()
    assert len(set(sample_ids(smoke))) == len(solutions) == len(grades)
    assert set(table(smoke, "step_labels")["problem_id"]) == set(problems[problems["split"] == "train"]["problem_id"])
    scores = table(smoke, "scores")
    assert set(scores["split"]) == {"test", "new_facts", "ood"}
    both = scores.merge(solutions, on=["problem_id", "sample_index"])
    both = both[both["orm_score"].notna()]
    assert both["orm_score"].between(0, 1).all()
    assert (both["step_probabilities"].map(len) == both["steps"].map(len)).all()
    for _, row in both.head(20).iterrows():
        product = 1.0
        for negative, neutral, positive in row["step_probabilities"]:
            assert negative + neutral + positive == pytest.approx(1, abs=1e-5)
            product *= neutral + positive
        assert row["prm_score"] == pytest.approx(product, rel=1e-4)


def test_results_are_written_for_people(smoke: Path) -> None:
    content = summary(smoke)
    assert content["engine"]["name"] == "vllm"
    assert content["engine"]["version"]
    curves = pd.read_parquet(smoke / "studies/smoke/best_of_n.parquet")
    assert {"prm", "orm", "majority", "prm_weighted", "orm_weighted"} <= set(curves["method"])
    assert curves[["accuracy", "ci_low", "ci_high"]].stack().between(0, 1).all()
    one = curves[(curves["n"] == 1) & (curves["split"] == "test") & (curves["method"] != "pass")]
    assert one["accuracy"].tolist() == pytest.approx([content["pass_at_1"]["test"]] * len(one))
    with Image.open(smoke / "studies/smoke/best_of_n.png") as picture:
        assert picture.width > 800


def test_models_open_as_hugging_face_folders(smoke: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForTokenClassification, AutoTokenizer

    places = index(smoke)
    prm = AutoModelForTokenClassification.from_pretrained(places["prm"])
    assert prm.config.id2label == {0: "negative", 1: "neutral", 2: "positive"}
    assert AutoModelForTokenClassification.from_pretrained(places["orm"]).config.num_labels == 2
    assert (
        len(AutoTokenizer.from_pretrained(places["prm"]))
        == AutoModelForCausalLM.from_pretrained(places["generator"]).get_input_embeddings().num_embeddings
    )


def test_a_second_run_computes_nothing_and_growing_keeps_what_there_is(smoke: Path, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    shutil.copytree(smoke, root)
    before = table(root, "solutions")
    printed = run_study(root)
    assert "computing" not in printed
    content = summary(root)
    assert all(stage["shards"] == stage["shards_reused"] for stage in content["stages"].values())
    run_study(root, "--samples-per-problem", "test=12")
    stages = summary(root)["stages"]
    assert stages["solutions"]["shards"] - stages["solutions"]["shards_reused"] == 1
    assert stages["orm"]["shards_reused"] == stages["prm"]["shards_reused"] == 1
    after = table(root, "solutions")
    assert (after[after["split"] == "test"].groupby("problem_id").size() == 12).all()
    merged = before.merge(after, on=["problem_id", "sample_index"], suffixes=("", "_after"))
    assert len(merged) == len(before)
    assert (merged["text"] == merged["text_after"]).all()


def test_several_trainings_make_ensembles(smoke: Path, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    shutil.copytree(smoke, root)
    printed = run_study(root, "--training-seeds", "2")
    assert "PRM ensemble" in printed
    stages = summary(root)["stages"]
    assert stages["orm"]["shards_reused"] == stages["solutions"]["shards_reused"] / stages["solutions"]["shards"] == 1
    samples = table(root, "scored_samples").sort_values(["problem_id", "sample_index", "training_seed"])
    for kind in ("prm", "orm"):
        of_trainings = samples[f"{kind}_score"].to_numpy().reshape(-1, 2)
        of_ensemble = samples[f"ensemble_{kind}_score"].to_numpy().reshape(-1, 2)
        assert of_ensemble == pytest.approx(np.repeat(of_trainings.mean(1)[:, None], 2, 1))
        assert (of_trainings[:, 0] != of_trainings[:, 1]).any()
    curves = summary(root)["best_of_n"]
    assert curves["ensemble_prm"]["1"] == pytest.approx(curves["prm"]["1"])  # of one sample all pick the same
    assert "PRM ensemble" in (root / "studies/smoke/report.html").read_text()
    assert summary(root)["verdicts"][0].endswith("problems and 2 trainings")


@needs_real_rows("math_train12k.jsonl.gz", "math_test500.jsonl.gz", "prm800k_*.jsonl.gz")
def test_real_problems_and_prm800ks_labels(smoke: Path, tmp_path: Path) -> None:
    """MATH's problems, PRM800K's raw lines and decoded ones: the road, at a generator that solves almost none."""
    root = tmp_path / "outputs"
    shutil.copytree(smoke, root)
    argv = ["--samples-per-problem", "4", "--max-problems", "20", "--study", "math"]
    argv += ["--train-problems", str(REAL_ROWS / "math_train12k.jsonl.gz")]
    argv += ["--test-problems", str(REAL_ROWS / "math_test500.jsonl.gz")]
    labelled = [REAL_ROWS / f"prm800k_{name}.jsonl.gz" for name in ("train2pct_decoded", "raw_samples")]
    printed = run_study(root, *argv, "--labelled-solutions", *map(str, labelled))
    assert "solves almost none" in printed
    assert "Process-supervised" in printed
    problems = table(root, "problems", "math")
    assert problems.groupby("split").size().to_dict() == {"train": 20, "test": 20}
    assert len(table(root, "solutions", "math")) == 160
    content = summary(root, "math")
    assert content["stages"]["generator"]["shards_reused"] == 1
    training, counts = content["training"]["prm"], content["labelled_solutions"]
    counted_rows, counted_labels = (
        sum(count for name, count in training.items() if name.startswith(what) and name != "labels_unrated")
        for what in ("rows_", "labels_")
    )
    ratings = []
    with gzip.open(labelled[0], "rt") as lines:
        ratings += [step["rating"] for line in lines for step in json.loads(line)["steps"]]
    with gzip.open(labelled[1], "rt") as lines:
        steps = [step for line in lines for step in json.loads(line)["label"]["steps"]]
        ratings += [one["rating"] for step in steps for one in step["completions"] or []]
    assert counted_rows == 1461 + 8 == counts["rows"]
    assert counted_labels == sum(rating is not None for rating in ratings) == counts["labels"]
    assert (training["rows_give_up"], training["rows_screening"]) == (2, 1)
    assert counts["rows used"] + counts["rows dropped, give_up"] + counts["rows dropped, screening"] == counts["rows"]


def test_explain_names_a_changed_option_and_a_changed_version(
    smoke: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "solutions: HIT" in explained(capsys, smoke, "solutions")
    printed = explained(capsys, smoke, "solutions", "--temperature", "0.9")
    assert re.search(r"sampling.temperature: [\d.]+ before, 0.9 now", printed)
    version = grade().version
    monkeypatch.setattr(full_study, "grade", lambda **how: dataclasses.replace(grade(**how), version=version + 1))
    assert f"version: {version} before, {version + 1} now" in explained(capsys, smoke, "grades")
