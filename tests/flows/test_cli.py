"""The command line: bad input gives one clear line and status 2 before any engine starts; plans need no engine."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import Qwen2Config, Qwen2ForTokenClassification

from components.dataflow.stage import canonical_json
from components.text.rendering import CONVENTION
from components.verifiers import style as styles
from components.verifiers.scoring import ScoringConfig
from flows import full_study
from flows.command_line import cli
from flows.command_line.options import parse
from flows.command_line.preset_options import preset_of
from flows.presets.presets import PRESETS, SEED
from flows.study import Study
from tests.verifiers.style_models import make, tiny, write_model
from tests.verifiers.vocabularies import qwen_tokenizer

ROOT = Path(__file__).parents[2]
Printed = pytest.CaptureFixture[str]
SMOKE = ["--preset", "smoke", "--engine", "transformers"]
GOOD = [{"problem": "1 + 1?", "answer": "2"}, {"problem": "2 + 2?", "answer": 4}]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    train = write(tmp_path / "train.jsonl.gz", GOOD)
    pq.write_table(pa.Table.from_pylist([{"problem": "3 + 3?", "answer": "6"}]), tmp_path / "test.parquet")
    return ["--train-problems", str(train), "--test-problems", str(tmp_path / "test.parquet")]


def refusal(capsys: Printed, *argv: str) -> str:
    """The one line that a wrong command line gives; fails when work would start."""

    def start(study: Study) -> None:
        raise AssertionError("work would have started")

    assert cli.run(start, argv, "") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--preset", "desktop"], ["--preset desktop", "smoke", "laptop", "math_7b"]),
        (["--samples-per-problem", "-4"], ["-4", "1 or more"]),
        (["--samples-per-problem=-4"], ["-4", "1 or more"]),
        (["--samples-per-problem", "test=0"], ["test=0", "1 or more"]),
        (["--samples-per-problem", "dev=4"], ["dev", "train, test, ood"]),
        (["--samples-per-problem", "many"], ["many", "1 or more"]),
        (["--temperature", "-1"], ["--temperature -1"]),
        (["--temperature", "nan"], ["--temperature nan"]),
        (["--max-tokens", "0"], ["--max-tokens 0"]),
        (["--max-tokens", "2047"], ["--max-tokens 2047", "1024"]),
        (["--temperature", "inf"], ["--temperature inf"]),
        (["--max-problems", "3"], ["--max-problems", "--train-problems"]),
        (["--seed", "-1"], ["--seed -1"]),
        (["--study", "../x"], ["--study ../x", "letters"]),
        (["--root", "ftp://host/x"], ["ftp://host/x", "s3://"]),
        (["verify", "--root", "ftp://host/x"], ["ftp://host/x", "s3://"]),
        (["--max-error-rate", "-0.5"], ["--max-error-rate -0.5"]),
        (["--root", "/proc/nowhere"], ["/proc/nowhere", "can be written"]),
        (["--root", "/etc/hostname"], ["/etc/hostname", "can be written"]),
        (["--base-model", "/no/model"], ["/no/model", "config.json"]),
        (["--train-problems", "x.jsonl"], ["--test-problems", "both"]),
        (["--train-problems", "no.jsonl", "--test-problems", "no.jsonl"], ["no.jsonl", "no such file"]),
        (["--training-seeds", "0"], ["--training-seeds 0"]),
        (["--learning-rates", "1e-3", "-1"], ["--learning-rates 0.001 -1", "greater than 0"]),
        (["--prm", "/no/model"], ["--prm-style", "qwen_prm", "both"]),
        (["--prm", "/no/model", "--prm-style", "trl"], ["/no/model", "config.json"]),
        (["--preset", "math_7b"], ["math_7b needs", "--base-model", "--train-problems"]),
    ],
)
def test_bad_input(
    capsys: Printed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refusal(capsys, *argv)
    assert line.startswith("error: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--prm", "/a", "--prm", "/b"], "--prm: is given twice; it takes one value"),
        (["--seed", "1", "--seed=2"], "--seed: is given twice; it takes one value"),
        (["--learning-rates", "1e-3", "--learning-rates", "1e-4"], "is given twice; several values follow one option"),
    ],
)
def test_an_option_that_is_given_twice_is_refused(capsys: Printed, argv: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as error:
        parse(argv, "")
    assert error.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"problem": "x"}, GOOD[0]], ["row 0", "'answer'", "--answer-column"]),
        ([{"problem": "x", "answer": None}], ["row 0", "'answer' is null"]),
        ([{"problem": None, "answer": "1"}], ["row 0", "'problem' is null"]),
        ([{"problem": ["x", "y"], "answer": "1"}], ["row 0", "'problem' is ['x', 'y']"]),
        ([], ["no rows"]),
        ([{"problem": "3 + 3?", "answer": "6"}], ["test row 0", "train row 0"]),
    ],
)
def test_bad_rows(
    capsys: Printed,
    tmp_path: Path,
    files: list[str],
    rows: list[dict[str, object]],
    words: list[str],
) -> None:
    bad = write(tmp_path / "bad.jsonl", rows)
    line = refusal(capsys, "--root", str(tmp_path / "out"), *files[2:], "--train-problems", str(bad))
    for word in words:
        assert word in line


@pytest.mark.parametrize("data", [b"not json\n", b"[1]\n", b"\xff\xfe\n"])
@pytest.mark.parametrize("name", ["bad.jsonl", "bad.jsonl.gz", "bad.parquet"])
def test_files_that_are_something_else(
    capsys: Printed, tmp_path: Path, files: list[str], name: str, data: bytes
) -> None:
    bad = tmp_path / name
    bad.write_bytes(data)
    assert name in refusal(capsys, "--root", str(tmp_path / "out"), *files[:2], "--test-problems", str(bad))


def test_a_job_must_not_keep_its_store_in_its_own_folder(
    capsys: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "runtime_resources" / "copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert "absolute folder" in refusal(capsys, "--root", "outputs")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_plans_without_an_engine(capsys: Printed, tmp_path: Path, preset: str) -> None:
    assert cli.run(full_study.full_study, ["--preset", preset, "--plan", "--root", str(tmp_path / "out")], "") == 0
    printed = capsys.readouterr().out
    stages = {line.split()[0] for line in printed.splitlines() if line}
    assert {"problems", "generator", "solutions", "grades", "scores", "best_of_n"} <= stages
    for model in ("orm", "prm"):
        assert any(stage == model or stage.startswith(f"{model}_at_") for stage in stages)
    assert not (tmp_path / "out").exists()


def test_files_are_planned_as_given(capsys: Printed, tmp_path: Path, files: list[str]) -> None:
    argv = [*files, "--plan", "--root", str(tmp_path / "out"), "--samples-per-problem", "4"]
    assert cli.run(full_study.full_study, argv, "") == 0
    printed = capsys.readouterr().out
    stages = {line.split()[0] for line in printed.splitlines() if line}
    assert "orm_at_0.0003" in stages
    assert not any(stage.startswith("prm") for stage in stages)


def test_help_teaches_and_works_from_any_folder(tmp_path: Path) -> None:
    def help_of(*command: str) -> str:
        return subprocess.run(
            [sys.executable, str(ROOT / "flows/full_study.py"), *command, "--help"],
            capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "COLUMNS": "120"}, check=True,
        ).stdout  # fmt: skip

    printed = help_of()
    assert len(printed.splitlines()) < 50
    for word in ("examples:", "plan", "explain", "verify", "gc"):
        assert word in printed
    printed = help_of("run")
    for word in ("laptop", "smoke", "math_7b", "--samples-per-problem", "--train-problems", "--set PATH=VALUE"):
        assert word in printed
    assert "--grace-days" not in printed
    assert "--grace-days" in help_of("gc")
    assert "--preset" not in help_of("verify")


def test_a_word_for_a_number_is_refused_in_one_line(capsys: Printed) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.run(full_study.full_study, ["--seed", "x"], "")
    assert exit_.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_base_model_needs_weights_and_a_tokenizer(capsys: Printed, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "no weights" in refusal(capsys, "--base-model", str(tmp_path))
    (tmp_path / "model.safetensors").write_text("")
    assert "no tokenizer" in refusal(capsys, "--base-model", str(tmp_path))


def test_no_alternatives_to_steps_can_be_asked_for() -> None:
    found = {
        argv: preset_of(parse([*SMOKE, *argv], ""), [])[0].labelling.alternatives
        for argv in ((), ("--step-alternatives", "0"), ("--step-alternatives", "3"))
    }
    assert list(found.values()) == [0, 0, 3]


@pytest.mark.parametrize(("argv", "seed"), [([], SEED), (["--seed", "3"], 3)])
def test_the_papers_band_has_the_studys_seed(argv: list[str], seed: int) -> None:
    estimation = preset_of(parse([*SMOKE, "--paper-band", *argv], ""), [])[0].estimation
    assert estimation.band is not None
    assert estimation.band.seed == estimation.votes.seed == seed


def test_seeds_and_a_sweep_are_planned_and_a_published_prm_is_not_trained(capsys: Printed, tmp_path: Path) -> None:
    def planned(*argv: str) -> str:
        argv = ("--preset", "smoke", "--plan", "--root", str(tmp_path / "out"), *argv)
        assert cli.run(full_study.full_study, argv, "") == 0
        return capsys.readouterr().out

    printed = planned("--training-seeds", "3")
    assert all(f"\n{stage}_seed_3 " in printed for stage in ("orm", "prm", "scores"))
    printed = planned("--learning-rates", "0.001", "0.0003")
    assert all(f"\n{kind}_at_{rate} " in printed for kind in ("orm", "prm") for rate in ("0.001", "0.0003"))
    folder = tmp_path / "prm"
    make("qwen_prm", folder)
    printed = planned("--prm", str(folder), "--prm-style", "qwen_prm")
    assert "\norm " in printed
    assert "\nprm " not in printed


def test_a_folder_that_is_not_of_its_style_is_refused_by_plan(capsys: Printed, tmp_path: Path) -> None:
    folder = tmp_path / "prm"
    make("qwen_prm", folder)
    for flag in ("--prm", "--labelling-prm"):
        given = ["--plan", "--root", str(tmp_path / "out"), flag, str(folder), f"{flag}-style"]
        if flag == "--labelling-prm":
            given = ["--label-sources", "prm", *given]
        said = refusal(capsys, *given, "trl")
        assert f"{flag} {folder} holds Qwen2ForProcessRewardModel; the style trl is *ForTokenClassification" in said
        assert "was not trained here (its config has no stepverify)" in refusal(capsys, *given, "stepverify")
    outcome, implicit = "is an outcome style, which scores no steps", "needs a reference model"
    for style, message in [("qwen_rm", outcome), ("implicit_prm", implicit), ("no_style", "is no style: stepverify, ")]:
        with pytest.raises(SystemExit):
            parse(["--prm", str(folder), "--prm-style", style], "")
        assert message in capsys.readouterr().err
    (folder / "model.safetensors").write_bytes(b"")
    said = refusal(capsys, "--plan", "--prm", str(folder), "--prm-style", "qwen_prm")
    assert "model.safetensors has 0 bytes and is no whole safetensors file" in said


def test_a_prm_that_another_study_trained_is_taken_and_an_orm_is_not(capsys: Printed, tmp_path: Path) -> None:
    for name, labels in (("orm", 2), ("prm", 3)):
        tokenizer = qwen_tokenizer(small=True)
        model = tiny(Qwen2ForTokenClassification, Qwen2Config, tokenizer, num_labels=labels)
        model.config.stepverify = {**CONVENTION, "kind": name}
        write_model(tmp_path / name, model.config, tokenizer, model.state_dict(), "Qwen2ForTokenClassification")
    argv = [*SMOKE, "--plan", "--root", str(tmp_path / "out"), "--prm-style", "stepverify", "--prm"]
    assert cli.run(full_study.full_study, [*argv, str(tmp_path / "prm")], "") == 0
    assert "\nprm " not in capsys.readouterr().out
    assert "an ORM, which scores no steps; a PRM is wanted" in refusal(capsys, *argv, str(tmp_path / "orm"))


def test_a_style_of_ones_own_is_in_the_key_and_ours_by_its_name(tmp_path: Path) -> None:
    def scoring(style: str) -> ScoringConfig:
        return preset_of(parse([*SMOKE, "--prm-style", style], ""), [])[0].scoring

    ours, path = scoring("trl"), tmp_path / "mine.toml"
    assert json.loads(canonical_json(ours)) == {"dtype": "float32", "prm_style": "trl"}
    text = (Path(styles.__file__).parent / "styles/trl.toml").read_text(encoding="utf-8")
    path.write_text(text.replace('"trl"', '"mine"'), encoding="utf-8")
    mine = scoring(str(path))
    assert json.loads(canonical_json(mine))["style"]["rendering"]["after_step"] == "\n"
    path.write_text(text.replace('"trl"', '"mine"').replace('"\\n"', '"\\n\\n"'), encoding="utf-8")
    assert canonical_json(scoring(str(path))) != canonical_json(mine)


def test_no_problem_is_in_two_splits_and_none_held_out_is_labelled(
    tmp_path: Path, files: list[str], capsys: Printed
) -> None:
    ood = write(tmp_path / "ood.jsonl", [{"problem": "3 + 3?", "answer": "6", "source": "an exam"}])
    assert "ood row 0 is the same problem as test row 0" in refusal(capsys, *files, "--ood-problems", str(ood))
    ood = write(tmp_path / "other.jsonl", [{"problem": "4 + 4?", "answer": "8"}])
    rated = write(tmp_path / "rated.jsonl", [{"problem": "4 + 4?", "steps": [{"text": "8", "rating": 1}]}])
    argv = [*files, "--ood-problems", str(ood), "--labelled-solutions", str(rated)]
    assert "row 0 is a solution of a held-out problem (ood row 0, " in refusal(capsys, *argv)
    assert "go together" in refusal(capsys, "--ood-problems", str(ood))
