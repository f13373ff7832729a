"""Sources of step labels on the command line, as shards, and as verifiers side by side in one table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.data.graded_solutions import describe_graded, graded_solutions
from components.dataflow.datasets import Dataset, cut
from components.dataflow.errors import InputError, StoreError
from components.dataflow.runner import Runner
from components.dataflow.stage import Model, TableStage
from components.dataflow.store import Store
from components.evaluation.scored_samples import ReductionConfig, scored_samples
from components.labels.prm_labels import LabelByPrm, VerifierLabelsConfig
from components.report.main_study import label
from components.report.verdicts import verdicts
from components.text.problem_matching import same_text
from components.training.examples_of_rows import ExampleConfig, make_examples
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY, WorldConfig
from flows import full_study
from flows.command_line import cli
from flows.command_line.options import parse
from flows.presets.label_source_names import SOURCES
from flows.presets.presets import PRESETS
from flows.studies import label_sources
from flows.studies.label_sources import Labels
from schemas.tables import SOLUTIONS, table
from tests.verifiers.style_models import make

Printed = pytest.CaptureFixture[str]


def planned(capsys: Printed, tmp_path: Path, *argv: str) -> set[str]:
    preset = [] if "--preset" in argv else ["--preset", "smoke"]
    assert cli.run(full_study.full_study, [*preset, "--plan", "--root", str(tmp_path / "o"), *argv], "") == 0
    return {line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1].isalpha()}


def refused(capsys: Printed, *argv: str) -> str:
    assert cli.run(full_study.full_study, ["--preset", "smoke", *argv], "") == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_each_source_is_planned_with_a_prm_of_its_own(capsys: Printed, tmp_path: Path) -> None:
    sources = [source for source in SOURCES if source != "human"]
    stages = planned(capsys, tmp_path, "--label-sources", *sources)
    assert {"prm", *(f"prm_{source}" for source in sources[1:])} <= stages
    assert {"step_labels", "rollouts", "rollouts_search", "prm_labels", "judge", "judgements", "agreement"} <= stages
    assert "prm_rule" not in stages
    alone = planned(capsys, tmp_path, "--label-sources", "rollouts_search")
    assert {"rollouts_search", "rollouts_search_labels", "prm", "label_sources"} <= alone
    assert not {"agreement", "prm_rollouts_search"} & alone
    assert not {"agreement", "label_sources"} & planned(capsys, tmp_path)


def test_sources_that_do_not_fit_are_refused(capsys: Printed, tmp_path: Path) -> None:
    files = []
    for split, text in (("train", "1 + 1?"), ("test", "2 + 2?")):
        (tmp_path / split).with_suffix(".jsonl").write_text(json.dumps({"problem": text, "answer": "2"}))
        files += [f"--{split}-problems", str(tmp_path / f"{split}.jsonl")]
    assert "human needs --labelled-solutions" in refused(capsys, "--label-sources", "human")
    assert "rule needs the embedded problems" in refused(capsys, *files, "--label-sources", "rule")
    assert "judge needs --judge FOLDER" in refused(capsys, *files, "--label-sources", "judge")
    assert "prm needs --labelling-prm FOLDER" in refused(capsys, "--label-sources", "prm", "rule")
    make("trl", tmp_path / "prm")
    prm = ["--prm", str(tmp_path / "prm"), "--prm-style", "trl"]
    assert "leave --label-sources out" in refused(capsys, "--label-sources", "rule", *prm)
    (tmp_path / "prompt.txt").write_text("Judge {problem}!")
    assert "has no {steps}" in refused(capsys, "--judge-prompt", str(tmp_path / "prompt.txt"))
    for argv in (
        ["--rollouts-per-step", "4"],
        ["--judge-structured"],
        ["--labelling-prm", *prm[1:2], "--labelling-prm-style", "trl"],
    ):
        assert "which is not among --label-sources" in refused(capsys, *argv)
    assert "give that too" in refused(capsys, "--labelling-prm-style", "trl")
    judge = ["--label-sources", "judge", "--judge-structured", "--engine", "transformers"]
    assert "needs vLLM" in refused(capsys, *judge)
    stages = planned(capsys, tmp_path, *files, "--label-sources", "rollouts", "rollouts_search")
    assert {"prm", "prm_rollouts_search", "contamination", "agreement"} <= stages


ROWS = table(("name", pa.string(), False, "a name"), ("error", pa.string(), True, "an error"))


def test_people_may_be_any_of_several_sources(capsys: Printed, tmp_path: Path) -> None:
    files = []
    for split, text in (("train", "1 + 1?"), ("test", "2 + 2?")):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"problem": text, "answer": "2"}))
        files += [f"--{split}-problems", str(tmp_path / f"{split}.jsonl")]
    (tmp_path / "rated.jsonl").write_text(json.dumps({"problem": "3?", "steps": [{"text": "3", "rating": 1}]}))
    files += ["--labelled-solutions", str(tmp_path / "rated.jsonl")]
    for sources in (("rollouts", "human"), ("human", "rollouts")):
        stages = planned(capsys, tmp_path, *files, "--label-sources", *sources)
        assert {"prm", f"prm_{sources[1]}", f"prm_{sources[1]}_scores", "label_sources"} <= stages
    math = ["--preset", "math_7b", *files[:4]]
    stages = planned(capsys, tmp_path, *math, "--label-sources", "rollouts", "judge")
    assert "labelled_solutions" not in stages
    assert {"contamination", "prm", "prm_judge"} <= stages
    assert "labelled_solutions" in planned(capsys, tmp_path, *math)


def test_a_swept_rate_is_every_sources(capsys: Printed, tmp_path: Path) -> None:
    argv = ["--preset", "smoke", "--root", str(tmp_path), "--label-sources", "rule", "judge"]
    assert cli.run(full_study.full_study, ["explain", "prm_judge", *argv], "") == 0
    assert '"learning_rate": 0.001' in capsys.readouterr().out
    config = PRESETS["smoke"].prm
    chosen = dataclasses.replace(config, training=dataclasses.replace(config.training, learning_rate=0.5))
    study = cli.open_study(parse(["plan", *argv], ""))
    known = Dataset("solutions", "", "d", ())
    labels = Labels(known, None, {"rule": known, "judge": known})
    label_sources.train_others(study, 0, Model("generator", "g"), chosen, labels, known, "scores")
    [run] = [run for run in study.runner.runs if run.name == "prm_judge"]
    assert run.stage is not None
    assert run.stage.config.training.learning_rate == 0.5  # type: ignore[attr-defined]


def test_a_table_is_cut_like_the_input_that_it_follows(tmp_path: Path) -> None:
    runner = Runner(Store(tmp_path))
    names = [f"row {n}" for n in range(7)]

    def rows(config: Any, **inputs: pa.Table) -> pa.Table:
        return pa.Table.from_pylist([{"name": name, "error": None} for name in names], schema=ROWS)

    source = runner.table(TableStage("source", 1, WorldConfig(), ROWS, rows, shard_rows=3))
    follows = TableStage("follows", 1, WorldConfig(), ROWS, rows, shards_like="source")
    found = runner.table(follows, source=source)
    assert [shard.rows for shard in found.shards] == [3, 3, 1]
    assert [runner.store.read_shard(shard)["name"].to_pylist() for shard in found.shards] == [
        names[:3],
        names[3:6],
        names[6:],
    ]
    assert [shard.attributes for shard in found.shards] == [shard.attributes for shard in source.shards]
    with pytest.raises(StoreError, match="7 rows for 6"):
        list(cut(rows(None), follows, {"source": type(source)("s", "", "d", source.shards[:2])}))


def test_more_prms_are_verifiers_of_their_own() -> None:
    keys = [{"problem_id": "p", "sample_index": n} for n in range(3)]
    grades = pa.Table.from_pylist(
        [one | {"answer": str(n), "is_correct": n == 0, "error": None} for n, one in enumerate(keys)]
    )
    candidates = pa.Table.from_pylist(
        [{"problem_id": "p", "answer": str(n), "candidate": n, "candidate_is_correct": n == 0} for n in range(3)]
    )
    solutions = pa.Table.from_pylist([one | {"steps": ["a"]} for one in keys])

    def scores(prm: float, orm: float | None) -> pa.Table:
        rows = [
            one
            | {
                "split": "test",
                "orm_score": orm,
                "prm_score": prm + n,
                "step_probabilities": [[0.5, 0.0, 0.5]],
                "error": None,
            }
            for n, one in enumerate(keys)
        ]
        return pa.Table.from_pylist(rows)

    stage = scored_samples(ReductionConfig(), ["prm_judge"])
    found = stage.compute(
        stage.config,
        grades=grades,
        candidates=candidates,
        solutions=solutions,
        scores=scores(0.0, 0.5),
        scores_seed_2=scores(10.0, 0.7),
        prm_judge_scores=scores(100.0, None),
        prm_judge_scores_seed_2=scores(200.0, None),
    ).to_pandas()
    assert found["prm_score"].tolist() == [0, 1, 2, 10, 11, 12]
    assert found["prm_judge_score"].tolist() == [100, 101, 102, 200, 201, 202]
    assert found["orm_score"].tolist() == [0.5] * 3 + [0.7] * 3
    assert found["training_seed"].tolist() == [1] * 3 + [2] * 3
    assert label("prm_rollouts_search") == "PRM by rollouts search"


class FixedVerifier:
    def step_probabilities(self, rows: list[dict[str, Any]]) -> list[Any]:
        known = {"a": [0.1, 0.2], "b": [0.05, 0.200001, 0.9], "c": [0.3]}
        return [
            np.array([[p, 0.0, 1 - p] for p in known[row["problem"]]]) if row["problem"] in known else "too long"
            for row in rows
        ]


def test_a_prm_calls_a_step_wrong_over_the_threshold_alone() -> None:
    worker = LabelByPrm.__new__(LabelByPrm)
    worker.config, worker.verifier = VerifierLabelsConfig(), FixedVerifier()  # type: ignore[assignment]
    rows = []
    counts = {"a": 2, "b": 3, "c": 1, "d": 1, "e": 1, "f": 0}
    for name, count in counts.items():
        row = dict.fromkeys(SOLUTIONS.names) | {"problem_id": name, "problem": name, "split": "train", "text": ""}
        row |= {"sample_index": 0, "steps": ["s"] * count, "num_tokens": 0, "seed": 0}
        rows.append(row | {"error": "bad" if name == "e" else None})
    found = worker(pa.Table.from_pylist(rows, schema=SOLUTIONS), {}).to_pylist()
    assert [row["ratings"] for row in found] == [[1, 1], [1, -1], [-1], [], [], []]
    assert [row["error"] for row in found] == [None, None, None, "too long", "bad", "the solution has no steps"]
    assert found[1]["provenance"] == ["P(negative) 0.0500", "P(negative) 0.2000"]


def test_graded_solutions_train_an_orm(tmp_path: Path) -> None:
    rows = [
        {"prompt": "1 + 1?", "completion": "1 + 1 = 2\n# Answer\n\n2", "label": True},
        {"problem": "1 + 1?", "text": "It is 3.", "is_correct": False},
        {"problem": "1 + 1?", "text": "It is 3."},
        {"prompt": "1 + 1?", "completion": "", "label": False},
        {"problem": "What is 5?", "text": "5", "is_correct": True},
        {"problem": "1 + 1?", "text": "a", "is_correct": True, "steps": [{"text": "a"}]},
    ]
    path = tmp_path / "graded.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    held_out = {same_text("What  is $5$?"): "test row 0"}
    with pytest.raises(InputError, match="row 4 is a solution of a held-out problem"):
        describe_graded([path], held_out, False)
    config, _ = describe_graded([path], held_out, True)
    [found] = graded_solutions(config, [path], held_out).compute(config)
    assert found["is_correct"].to_pylist()[:2] == [True, False]
    assert [error is None for error in found["error"].to_pylist()] == [True, True, False, False, True, False]
    assert found["dropped"].to_pylist() == [None, None, None, None, "contaminated", None]
    tokenizer = build_tokenizer(VOCABULARY)
    made = make_examples(tokenizer, found.to_pylist(), ExampleConfig("orm", 256), [False] * 6)
    assert [one.example.is_right if one.example else None for one in made] == [True, False, None, None, None, None]
    assert found["finished"].to_pylist()[:2] == [True, False]  # one that gives no answer was cut
    assert made[4].counts == {"rows_contaminated": 1}


def test_verdicts_leave_pairs_of_other_prms_out() -> None:
    import itertools

    import pandas as pd

    methods = ["prm", "prm_judge", "prm_rollouts", "orm", "majority"]
    rows = [
        {"split": "test", "method": one, "baseline": other, "n": 4, "difference": 0.1, "ci_low": 0.05, "ci_high": 0.2}
        | {"num_seeds": 1, "std_over_seeds": None, "p_value": 0.001}
        for one, other in itertools.permutations(methods, 2)
    ]
    said = verdicts(pd.DataFrame(rows), 100)
    assert not [line for line in said if "judge" in line and "rollouts" in line]
    assert len([line for line in said if "PRM by judge" in line]) == 2
    assert said[0].startswith("PRM beats ORM at N = 4")  # the study's own question
