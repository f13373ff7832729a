"""The command line of compare_verifiers.py: bad input gives one line and status 2 before an engine starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from components.dataflow.runner import Runner
from components.dataflow.store import Store
from flows import compare_verifiers, evaluate, step_errors
from flows.studies import compared_sources
from flows.study import open_study
from tests.flows.test_scored_files import four, nested, write
from tests.flows.test_verifier_specs import folders  # noqa: F401 # the fixture

Printed = pytest.CaptureFixture[str]
ROWS = [
    {"problem": "2 + 2?", "text": "So 4.", "answer": "4", "is_correct": True, "old_score": 0.5},
    {"problem": "2 + 2?", "text": "So 5.", "answer": "5", "is_correct": False, "old_score": 0.25},
]
RATED = [{"problem": "2 + 2?", "steps": ["2 and 2.", "So 5."], "label": 1}]


@pytest.fixture
def inputs(tmp_path: Path, folders: dict[str, Path]) -> dict[str, str]:  # noqa: F811
    """Places by name: files of samples, good and bad ones, and folders of models."""
    texts = {"good.jsonl": ROWS, "rated.jsonl": RATED, "no_text.jsonl": [ROWS[0] | {"text": None}]}
    texts["no_grade.jsonl"] = [{"problem": "2 + 2?", "text": "So 4."}]
    texts["empty.jsonl"] = []
    for name, rows in texts.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    cut = tmp_path / "cut"
    cut.mkdir()
    for path in folders["prm"].iterdir():
        content = path.read_bytes()
        (cut / path.name).write_bytes(content[: len(content) // 2] if path.suffix == ".safetensors" else content)
    headless = tmp_path / "headless"
    shutil.copytree(folders["generator"], headless)
    weights = load_file(headless / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if name != "lm_head.weight"}, headless / "model.safetensors"
    )
    (tmp_path / "bad.toml").write_text('name = "mine"\nkind = "proces"\n')
    places = {name.partition(".")[0]: str(tmp_path / name) for name in texts}
    return (
        places
        | {name: str(folder) for name, folder in folders.items()}
        | {"cut": str(cut), "headless": str(headless), "here": str(tmp_path)}
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["{here}/absent.jsonl", "--verifier=a=length"], ["absent.jsonl"]),
        (["{empty}", "--verifier=a=length"], ["empty.jsonl", "holds no rows"]),
        (["{no_text}", "--verifier=a={prm}"], ["no_text.jsonl", "row 0", "no solution for a verifier to read"]),
        (["{no_grade}", "--verifier=a=length"], ["no_grade.jsonl", "row 0", "is_correct"]),
        (["{good}", "--verifier=length"], ["--verifier length", "NAME=SOURCE"]),
        (["{good}", "--verifier=old=length"], ["another verifier old"]),
        (["{good}", "--verifier=a=length", "--verifier=a=random"], ["another verifier a"]),
        (["{good}", "--verifier=majority=length"], ["majority", "name of a vote"]),
        (["{good}", "--verifier=a={here}/nowhere"], ["--verifier a", "nowhere"]),
        (["{good}", "--verifier=a={cut}"], ["--verifier a", "model.safetensors"]),
        (["{good}", "--verifier=a=hub:x y,style=qwen_prm"], ["--verifier a", "hub:ORG/NAME@REVISION"]),
        (["{good}", "--verifier=a=judge:hub:a/b/c"], ["--verifier a", "hub:ORG/NAME@REVISION"]),
        (["{good}", "--verifier=a={prm},style=qwen_prm"], ["--verifier a", "qwen_prm"]),
        (["{good}", "--verifier=a={prm},style=quen_prm"], ["--verifier a", "quen_prm", "one of"]),
        (["{good}", "--verifier=a={prm},style={here}/bad.toml"], ["bad.toml", "kind"]),
        (["{good}", "--verifier=a={generator}"], ["--verifier a", "generator"]),
        (["{good}", "--verifier=a={prm},stile=trl"], ["stile", "did you mean style?"]),
        (["{good}", "--verifier=a={prm},reduction=avg"], ["reduction avg", "mean"]),
        (["{good}", "--verifier=a={orm},reduction=min"], ["it scores whole solutions"]),
        (["{good}", "--verifier=a={prm},dtype=int8"], ["dtype int8", "bfloat16"]),
        (["{good}", "--verifier=a=confidence:{generator},measure=entropy"], ["measure entropy", "self_certainty"]),
        (["{good}", "--verifier=a=confidence:{generator},window=0"], ["--verifier a", "window"]),
        (["{good}", "--verifier=a=confidence:{prm}"], ["--verifier a", "ForTokenClassification, which writes nothing"]),
        (["{good}", "--verifier=a=judge:{orm}"], ["--verifier a", "ForTokenClassification, which writes nothing"]),
        (["{good}", "--verifier=a=confidence:{headless}"], ["--verifier a", "lacks weights of a language model"]),
        (["{good}", "--verifier=ensemble_prm=length"], ["ensemble_prm", "name of a verifier of studies"]),
        (["{good}", "--verifier=solution_length=length"], ["solution_length", "name of a verifier of studies"]),
        (["{good}", "--verifier=a=judge:{generator},votes=0"], ["--verifier a", "votes"]),
        (["{good}", "--verifier=a=judge:{generator},temperature=0"], ["several votes at temperature 0"]),
        (["{good}", "--verifier=a=judge:{generator},prompt={here}/none.txt"], ["none.txt"]),
        (["{good}", "--verifier=a=judge:http://127.0.0.1:9/v1"], ["--verifier a", "it has no model"]),
        (["{good}", "--verifier=a=judge:https://u:p@h/v1#m"], ["--verifier a", "put the key into OPENAI_API_KEY"]),
        (["{good}", "--verifier=a=length", "--max-requests", "9"], ["--max-requests is for a model behind an address"]),
        (["{good}", "--verifier=a=min(old, new)"], ["new", "old"]),
        (["{good}", "--verifier=a=min(old,"], ["--verifier a"]),
        (["{good}", "--verifier=a=length", "--max-error-rate", "-1"], ["--max-error-rate -1"]),
        (["{good}", "--verifier=a=length", "--study", "../x"], ["--study ../x"]),
        (["{good}", "--verifier=a=length", "--scores", "none_score"], ["none_score"]),
        (["{good}", "--verifier=a=length", "--samples-per-problem", "1"], ["--samples-per-problem 1", "2 samples"]),
    ],
)
def test_bad_input_gives_one_line_before_any_work(
    inputs: dict[str, str], capsys: Printed, monkeypatch: pytest.MonkeyPatch, argv: list[str], words: list[str]
) -> None:
    monkeypatch.setattr(Runner, "table", lambda *_, **__: pytest.fail("work would have started"))
    place = Path(inputs["here"]) / "out"
    arguments = [word.format(**inputs) for word in argv]
    assert compare_verifiers.main([*arguments, *(() if "--root" in argv else ("--root", str(place)))]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert all(word in line for word in words), line
    assert not (place / "studies").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["--prm FOLDER", "--verifier NAME=SOURCE"]),
        (["--verifier=a={orm}"], ["--verifier a", "it calls no step wrong"]),
        (["--verifier=a=length"], ["--verifier a", "it calls no step wrong"]),
        (["--verifier=a={prm}", "--verifier=b=1 - a"], ["--verifier b", "it calls no step wrong"]),
    ],
)
def test_step_errors_wants_verifiers_that_rate_steps(
    inputs: dict[str, str], capsys: Printed, monkeypatch: pytest.MonkeyPatch, argv: list[str], words: list[str]
) -> None:
    monkeypatch.setattr(Runner, "table", lambda *_, **__: pytest.fail("work would have started"))
    arguments = [word.format(**inputs) for word in (*argv, "--root", "{here}/out")]
    assert step_errors.main([inputs["rated"], *arguments]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert all(word in line for word in words), line


def test_a_file_without_verifiers_has_nothing_to_compare(inputs: dict[str, str], capsys: Printed) -> None:
    path = Path(inputs["here"]) / "unscored.jsonl"
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "old_score"}) + "\n" for row in ROWS))
    assert compare_verifiers.main([str(path), "--root", str(path.parent / "out")]) == 2
    assert "give --verifier NAME=SOURCE" in capsys.readouterr().err


def test_how_ratings_are_read_is_told(inputs: dict[str, str], capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A label that is 1 for a right solution would be taken for the place of its first wrong step: so that is said."""
    path = Path(inputs["here"]) / "both.jsonl"
    path.write_text(json.dumps(RATED[0] | {"final_answer_correct": False}) + "\n")
    monkeypatch.setattr(Runner, "table", lambda *_, **__: pytest.fail("the line was told"))
    with pytest.raises(pytest.fail.Exception, match="the line was told"):
        compare_verifiers.main([str(path), "--verifier", "a=length", "--root", inputs["here"] + "/out"])
    said = capsys.readouterr().out
    assert "grade 'final_answer_correct'" in said
    assert "its steps are rated, read as ProcessBench's" in said


@pytest.mark.parametrize(
    "columns",
    [
        {"completions": "text", "scores": "steps", "agg_scores": "prm_score"},
        {"code": "text", "pred": "answer", "score": "is_correct", "pred_score": "one"},
        {"answers": "text", "label": "bit", "step_scores": "steps"},
        None,
    ],
    ids=["search-and-learn", "Qwen", "RLHFlow", "NeMo"],
)
def test_files_of_others_are_read_as_evaluate_reads_them(tmp_path: Path, columns: dict[str, str] | None) -> None:
    """Their own scores give the same best-of-N; the verifier that is added has read the same samples' texts."""
    if columns is None:
        fields = {"answer": "predicted_answer", "is_correct": "symbolic_correct"}
        rows = [{fields.get(name, name): value for name, value in row.items()} for row in four()]
        rows = [row | {"generation": f"It is \\boxed{{{row['predicted_answer']}}}."} for row in rows]
    else:
        rows = nested(**columns)
    path = str(write(tmp_path / "rows.jsonl", rows))
    assert evaluate.main([path, "--root", str(tmp_path / "a"), "--study", "x"]) == 0
    assert (
        compare_verifiers.main([path, "--root", str(tmp_path / "b"), "--study", "x", "--verifier", "short=length"]) == 0
    )
    theirs, both = (json.loads((tmp_path / at / "studies/x/summary.json").read_text())["best_of_n"] for at in "ab")
    assert {name: both[name] for name in theirs} == theirs
    assert set(both) - set(theirs) == {"short"}
    assert both["short"]["1"] == both["pass"]["1"]
    assert both["short"]["4"] != both["pass"]["4"]


def compared(file: Path, root: Path, *verifiers: str) -> dict[str, Any]:
    """The summary of a comparison that needs no model, and so no engine."""
    argv = [str(file), "--root", str(root), *(f"--verifier={one}" for one in verifiers)]
    assert compare_verifiers.main(argv) == 0
    [folder] = [each for each in (root / "studies").iterdir() if read(each)["file"] == str(file)]
    return read(folder)


def read(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def test_verifiers_of_any_name_are_compared_and_what_a_file_lacks_is_told(tmp_path: Path) -> None:
    """prm_a is no PRM of a label source here; a column without a score is in an expression; a problem has a sample
    less, and one sample no text."""
    rows: list[dict[str, Any]] = [
        {"problem": f"{n} + 2?", "text": f"So {n + 2 + wrong}." * (1 + wrong), "answer": str(n + 2 + wrong)}
        | {"is_correct": not wrong, "prm_a_score": 0.5 - 0.1 * wrong, "lost_score": None}
        for n in range(12)
        for wrong in (0, 1)
    ]
    rows[2] |= {"text": None, "answer": None, "is_correct": False}
    names = ("prm_b=random", "short=length", "mix=mean(lost, prm_a)", "both=min(prm_a, prm_b)")
    for folder in ("one", "two"):  # of one name, and two studies
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "samples.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows[: -1 if folder == "one" else -3]))
        summary = compared(file, tmp_path / "out", *names)
        assert "1 slots of 1 problems are not in the file: they count as empty" in str(summary["notes"])
        assert "mix has no score of any sample, and stands in no table" in summary["notes"]
        said = [verdict.partition(" at N")[0] for verdict in summary["verdicts"]]
        assert "prm_a shows no clear difference from both" in said
        assert "prm_a shows no clear difference from majority voting" in said
    assert sorted(each.name.partition("_")[0] for each in (tmp_path / "out/studies").iterdir()) == ["samples"] * 2
    scored = pd.read_parquet(
        json.loads((tmp_path / "out/studies/samples_verifiers/index.json").read_text())["scored_samples"]
    )
    assert scored["short_score"].isna().sum() == 2  # the empty slot, and the sample without a text


def test_what_a_study_compared_before_is_known_when_it_is_compared_again(tmp_path: Path) -> None:
    """Length is a floor then too, and an expression is no training of the study."""
    rows = [{"problem": f"{n // 2} + 2?", "text": "a" * n, "is_correct": n % 2 == 0, "rm_score": 0.5} for n in range(8)]
    file = tmp_path / "samples.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    compared(file, tmp_path / "out", "short=length", "both=min(rm, short)")
    study = open_study(Store(tmp_path / "out"), "samples_verifiers")
    short, both = compared_sources.compared_before(study, study.table("scored_samples"))
    assert (short.name, short.is_floor, both.name, both.is_floor) == ("short", True, "both", False)
    assert both.compared.expression == "min(rm, short)"
    assert compared_sources.compared_before(study, study.table("file_samples")) == []


def test_a_list_beside_a_sample_s_own_text_is_no_list_of_samples(tmp_path: Path) -> None:
    row = {"problem": "1 + 1?", "completion": "It is \\boxed{3}.", "answer": "3", "is_correct": False}
    rows = [
        row | {"solutions": ["It is 2."], "answers": ["2"]},
        row | {"completion": "2", "answer": "2", "is_correct": True},
    ]
    file = tmp_path / "samples.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    compared(file, tmp_path / "out", "a=length")
    index = json.loads((tmp_path / "out/studies/samples_verifiers/index.json").read_text())
    samples = pd.read_parquet(index["file_samples"])
    assert samples[["answer", "is_correct"]].values.tolist() == [["3", False], ["2", True]]
    assert pd.read_parquet(index["file_solutions"])["text"].tolist() == ["It is \\boxed{3}.", "2"]


def test_new_problems_at_a_file_s_end_leave_the_shards_before_as_they_were(tmp_path: Path) -> None:
    rows = [ROWS[n % 2] | {"problem": f"{n // 2} + 2?"} for n in range(1400)]
    file, shards = tmp_path / "samples.jsonl", list[set[str]]()
    for count in (1000, 1400):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))
        compared(file, tmp_path / "out", "a=length")
        folder = json.loads((tmp_path / "out/studies/samples_verifiers/index.json").read_text())["file_solutions"]
        manifest = Store(tmp_path / "out").manifest("/".join(folder.split("/")[-2:])) or {}
        shards.append({shard["digest"] for shard in manifest["shards"]})
    assert len(shards[0]) == 2
    assert shards[0] < shards[1]
