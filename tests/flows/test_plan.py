"""Plans: what is foreseen of a study is what a run of it makes, and what it costs is what one works out by hand."""

from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.dataflow import dry_run, map_executor, runner
from components.dataflow.datasets import content_digest
from components.dataflow.stage import MapStage, Model, Pool
from components.dataflow.train_executor import TrainingRun
from components.sampling.grading import grade
from components.verifiers.scoring import score
from components.worlds.worked_arithmetic import VOCABULARY
from flows import full_study
from flows.command_line import cli, plan_cost
from flows.command_line.options import parse
from flows.presets.presets import PRESETS
from flows.studies import generators
from flows.study import Study
from schemas.tables import SCORES, SOLUTIONS
from tests.faults import fake

ROOT = Path(__file__).parents[2]


class Sampled:
    """In place of an engine: an answer of its own per sample, the first two samples of a problem being right."""

    def __init__(self, config: Any, models: dict[str, Path]) -> None:
        pass

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        rows = []
        for row in table.to_pylist():
            for index in range(item["sample_start"], item["sample_start"] + item["sample_count"]):
                answer = row["ground_truth_answer"] if index < 2 else str(index)
                step = f"# Answer\n\n{answer}"
                rows.append({name: row[name] for name in ("problem_id", "split", "problem", "ground_truth_answer")})
                rows[-1] |= {"sample_index": index, "seed": 0, "error": None, "text": step, "steps": [step]}
                rows[-1] |= {"finish_reason": "stop", "num_tokens": 3}
        return pa.Table.from_pylist(rows, schema=SOLUTIONS)


class Scored:
    """In place of reward models."""

    def __init__(self, config: Any, models: dict[str, Path]) -> None:
        pass

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        same = {"orm_score": 0.5, "prm_score": 0.25, "step_probabilities": [[0.75, 0.0, 0.25]]}
        names = ("problem_id", "sample_index", "split", "error")
        rows = [{name: row[name] for name in names} | same for row in table.to_pylist()]
        return pa.Table.from_pylist(rows, schema=SCORES)


def without_engines(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Study stages that are fast in this process: nothing but what samples, trains and scores is another."""

    def generate(*given: Any, **named: Any) -> MapStage:
        return dataclasses.replace(original(*given, **named), make_worker=Sampled)

    def trained(runs: Sequence[TrainingRun], pool: Pool) -> None:
        for run in runs:
            made = folder / run.stage.name
            made.mkdir(exist_ok=True)
            (made / "config.json").write_text(json.dumps({"kind": run.stage.name}))
            run.publish(made, {}, 0.0)

    original = generators.generate
    monkeypatch.setattr(generators, "generate", generate)
    monkeypatch.setattr(
        full_study, "score", lambda *given: dataclasses.replace(score(*given), make_worker=Scored, models={})
    )
    monkeypatch.setattr(runner, "train_concurrently", trained)


def study_of(root: Path, command: str, *argv: str) -> Study:
    study = cli.open_study(parse([command, "--preset", "smoke", "--root", str(root), *argv], ""))
    study.runner.stream, study.runner.start_engine = fake.serial_stream, lambda: None
    study.runner.say = lambda line: None
    return study


def shards(run: Any) -> list[tuple[int, dict[str, str]]]:
    return [(shard.rows, dict(shard.attributes)) for shard in run.output.shards]


def test_a_plan_foresees_the_shards_and_rows_that_a_run_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_engines(monkeypatch, tmp_path)
    monkeypatch.setattr(full_study.summary, "write", lambda study: None)
    study = study_of(tmp_path / "outputs", "plan")
    full_study.full_study(study)
    planned = {run.name: run for run in study.runner.runs}
    assert not (tmp_path / "outputs").exists()
    study = study_of(tmp_path / "outputs", "run")
    full_study.full_study(study)
    made = {run.name: run for run in study.runner.runs}
    assert list(made) == list(planned)
    exact, unknown = set(), set()
    for name, run in planned.items():
        if run.output is None:
            assert (run.shards_total, made[name].output) == (1, None)  # a model
        elif run.output.rows_are == "≤":
            assert 0 < made[name].rows < run.rows
        elif not run.output.shards:
            unknown.add(name)
        else:
            assert shards(run) == shards(made[name]), name
            exact.add(name)
    assert exact == {
        *("problems", "problem_attributes", "teacher_solutions", "solutions", "grades", "step_labels", "scores"),
        *("scored_samples", "held_out_step_labels", "reference_scores"),
    }
    assert "candidates" not in exact | unknown
    # Worked out by hand: 60 train problems by 2 samples, 20 test by 8, 5 ood and 5 new_facts by 4, in blocks of 4.
    assert [rows for rows, _ in shards(planned["solutions"])] == [120, 80, 80, 20, 20]
    assert [rows for rows, _ in shards(planned["scores"])] == [80, 80, 20, 20]


def test_a_plan_counts_only_what_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_engines(monkeypatch, tmp_path)
    monkeypatch.setattr(full_study.summary, "write", lambda study: None)
    full_study.full_study(study_of(tmp_path / "outputs", "run"))
    study = study_of(tmp_path / "outputs", "plan", "--samples-per-problem", "test=12")
    full_study.full_study(study)
    runs = {run.name: run for run in study.runner.runs}
    assert (runs["solutions"].status, runs["solutions"].rows) == ("PARTIAL", 400)
    assert [bool(shard.digest) for shard in runs["solutions"].output.shards] == [True, True, True, False, True, True]
    work = plan_cost.expected_work(dataclasses.replace(study.runner, results={}), study.preset)
    assert work["solutions"].tokens == 20 * 4 * study.preset.plan.solution_tokens
    assert work["solutions"].prompts == 20 * study.preset.plan.prompt_tokens
    assert "generator" not in work  # it is there


def test_what_is_foreseen_has_no_part_in_a_key() -> None:
    generated = generators.generate(PRESETS["smoke"].sampling, Model("m", None))
    problems = fake.stages(fake.Config(6))[0]
    source, _ = dry_run.compute_unstored(problems, "k")
    ahead = dry_run.of_map(generated, source.select(split="test"))
    assert ahead.digest is ahead.select(split="test").digest is None
    assert ahead.rows == 2 * 8
    assert ahead.without(split="test").rows == 0
    with pytest.raises(ValueError, match="no part in a key"):
        content_digest(ahead.shards)
    with pytest.raises(ValueError, match="no part in a key"):
        map_executor.tasks_of(grade(), "r", ahead.shards[0])


def test_right_solutions_to_keep_are_bounded_by_problem() -> None:
    base = PRESETS["smoke"]
    source, _ = dry_run.compute_unstored(fake.stages(fake.Config(30))[0], "k")  # 20 of them train
    for samples, most in ((16, 20 * 4), (3, 20 * 3)):
        config = dataclasses.replace(base.few_shot, samples_per_problem={"train": samples}, sample_block=8)
        shots = dry_run.of_map(generators.generate(config, Model("m", None)), source)
        kept = dry_run.of_table(generators.keep_right(base.keep_right), {"solutions": shots, "grades": shots})
        assert (kept.rows, kept.rows_are) == (most, "≤")


def planned_work(root: Path, *argv: str) -> tuple[Study, dict[str, plan_cost.Work]]:
    study = cli.open_study(parse(["plan", "--root", str(root), *argv], ""))
    full_study.full_study(study)
    return study, plan_cost.expected_work(study.runner, study.preset)


def write(path: Path, problems: Sequence[str]) -> Path:
    path.write_bytes(
        gzip.compress("".join(json.dumps({"problem": p, "answer": "1"}) + "\n" for p in problems).encode())
    )
    return path


def test_tokens_and_gpu_hours_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl.gz", [f"train {i}" for i in range(200)])
    test = write(tmp_path / "test.jsonl.gz", [f"test {i}" for i in range(10)])
    _, work = planned_work(
        tmp_path / "outputs", "--preset", "math_7b", "--train-problems", str(train), "--test-problems", str(test),
        "--samples-per-problem", "train=50", "test=30",
    )  # fmt: skip
    # Blocks of 20 samples: a train problem's prompt is read 3 times, a test problem's twice. Assumed: 75 tokens a
    # problem, 400 a solution (of 1024 at most), 200 a labelled one, of which there are 98,731; 7e9 parameters.
    solutions = work["solutions"]
    assert solutions.prompts == (200 * 3 + 10 * 2) * 75
    assert (solutions.tokens, solutions.most_tokens) == (10_300 * 400, 10_300 * 1024)
    assert solutions.flops == pytest.approx(2 * 7e9 * (46_500 + 4_120_000))
    assert solutions.gpu_hours == pytest.approx(2 * 7e9 * 4_166_500 / (989e12 * 0.25) / 3600)
    assert work["scores"].flops == pytest.approx(2 * 14e9 * (10 * 2 * 75 + 300 * 400))  # both models read
    assert work["orm"].flops == pytest.approx(6 * 7e9 * 0.95 * 10_000 * (75 + 400))  # 5 % of the problems held out
    assert work["prm"].tokens == pytest.approx(0.95 * 98_731 * 2 * 200)  # two epochs
    assert (work["prm"].rows_are, work["generator"].rows_are) == ("~", "≤")
    assert work["generator"].tokens == 200 * 4 * 400
    assert work["prm"].gpu_hours == pytest.approx(6 * 7e9 * 0.95 * 98_731 * 2 * 275 / (989e12 * 0.30) / 3600)


def test_alternatives_to_steps_cost_their_step_while_they_are_there(tmp_path: Path) -> None:
    argv = ["--preset", "laptop", "--learning-rates", "3e-4"]
    _, work = planned_work(tmp_path, *argv, "--step-alternatives", "8")
    # 8,000 train problems by 2 samples, 5 % held out, 4 epochs of 27 tokens, 8 alternatives of 7 in all but the end.
    with_them = 4 * (1 - PRESETS["laptop"].prm.prm_share_without_alternatives)
    assert 0 < with_them < 4
    assert work["prm"].tokens == pytest.approx(0.95 * 16_000 * (4 * 27 + with_them * 8 * 7))
    assert work["orm"].tokens == pytest.approx(0.95 * 16_000 * 4 * 27)
    assert work["orm"].prompts == pytest.approx(0.95 * 16_000 * 4 * 24 / 2)  # two solutions share a problem's text
    _, work = planned_work(tmp_path, *argv)
    assert work["prm"].tokens == work["orm"].tokens  # matched


def test_a_base_models_size_is_that_of_its_weights(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"dtype": "bfloat16"}))
    (base / "model.safetensors").write_bytes(bytes(2 * 5000))
    (base / "tokenizer.json").write_text("{}")
    files = [str(write(tmp_path / f"{name}.jsonl.gz", [name])) for name in ("train", "test")]
    argv = ["--train-problems", files[0], "--test-problems", files[1], "--base-model", str(base)]
    _, work = planned_work(tmp_path / "outputs", *argv)
    assert work["solutions"].flops == 2 * 5000 * (work["solutions"].prompts + work["solutions"].tokens)


def test_the_embedded_generators_size_is_that_of_the_model() -> None:
    from components.training.stages import _causal_model
    from components.worlds.tokenizer import build_tokenizer

    architecture = PRESETS["smoke"].generator.architecture
    assert architecture is not None
    model = _causal_model(architecture, None, build_tokenizer(VOCABULARY))
    assert plan_cost.architecture_parameters(architecture) == sum(p.numel() for p in model.parameters())


def test_the_papers_size_is_planned_in_seconds_without_an_engine_and_reads_in_120_columns(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl.gz", [f"What is {i} + {i}?" for i in range(12_000)])
    test = write(tmp_path / "test.jsonl.gz", [f"What is {i} - {i}?" for i in range(500)])
    code = (
        "import sys; from flows import full_study; from flows.command_line import cli; "
        "status = cli.run(full_study.full_study, sys.argv[1:], '');"
        "print([m for m in ('torch', 'vllm', 'ray', 'transformers') if m in sys.modules]); sys.exit(status)"
    )
    argv = ["--preset", "math_7b", "--plan", "--train-problems", str(train), "--test-problems", str(test)]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *argv, "--root", str(tmp_path / "outputs")],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert time.monotonic() - began < 10
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]"
    assert max(len(line) for line in lines if not line.startswith("note: ")) <= 120  # a note on a file is one line
    cells = {line.split()[0]: line.split() for line in lines}
    # 12,000 train problems by 100 and 500 test by 1860, in shards of 150 problems by 20 samples.
    assert cells["solutions"][4:6] == [str(80 * 5 + 4 * 93), "2,130,000"]
    assert cells["scores"][-6:-4] == [str(4 * 93), "930,000"]
    assert "GPU-hours" in next(line for line in lines if not line.startswith("note: "))
