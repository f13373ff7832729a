"""Sample sets: what a study gives others, read back by path and by address, and refused where it was changed."""

from __future__ import annotations

import argparse
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pandas as pd
import pytest

from components.data.readers import fetch
from components.dataflow.errors import InputError
from components.dataflow.store import Store
from flows import export
from flows.command_line import sample_checks
from flows.studies.compared_sources import SamplesFile
from schemas.results import scored_samples
from tests.flows.test_export import Printed, key, publish, root  # noqa: F401 # the fixture


def options(samples: str) -> argparse.Namespace:
    names = ("problem_column", "answer_column", "correct_column", "samples_per_problem")
    given = dict.fromkeys(names) | {"samples": samples, "scores": [], "max_error_rate": 0.01, "segmentation": "auto"}
    return argparse.Namespace(**given)


@pytest.fixture
def folder(root: Path) -> Path:  # noqa: F811
    """The sample set of a study with three test samples, two of them scored, of which the third was never graded."""
    store = Store(root)
    rows = [
        key("c", sample, "test") | {"training_seed": seed, "is_correct": sample == 1, "num_steps": 3, "num_tokens": 9}
        | {"answer": "8", "finish_reason": "stop", "prm_score": score, "orm_score": None}
        for seed in (1, 2)
        for sample, score in enumerate([0.25 * seed, 0.5, None])
    ]  # fmt: skip
    schema = scored_samples(["orm", "prm"])
    for row in rows:
        row |= {name: None for name in schema.names if name not in row and schema.field(name).nullable}
        row |= {name: 0 for name in schema.names if name not in row}
    table = publish(store, "scored_samples", schema, [rows])
    path = root / "studies/mine/index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scored_samples": store.files.url(table.folder)}))
    out = root.parent / "set"
    assert export.main(["--root", str(root), "--study", "mine", "--format", "sample_set", "--out", str(out)]) == 0
    return out


def test_every_sample_is_there_with_its_grade_and_the_first_trainings_scores(folder: Path) -> None:
    rows = pd.read_parquet(folder / "samples.parquet")
    assert rows["sample_index"].tolist() == [0, 1, 2]
    assert rows["is_correct"].tolist() == [False, True, False]  # one whose grading failed fills its slot of N
    assert rows["answer"].fillna("none").tolist() == ["7", "8", "none"]  # and has no vote
    assert rows["prm_score"].tolist()[:2] == [0.25, 0.5]
    assert pd.isna(rows["prm_score"][2])
    about = json.loads((folder / "sample_set.json").read_text())
    assert (about["samples"], about["problems"], about["split"]) == (3, 1, "test")
    assert about["scores"] == ["orm_score", "prm_score"]
    card = (folder / "README.md").read_text()
    assert about["digest"] in card
    assert "3 samples of 1 problems" in card


def test_it_is_read_by_its_path(folder: Path) -> None:
    found = sample_checks.describe_file(options(str(folder)))
    assert isinstance(found, SamplesFile)
    assert found.verifiers == ("orm", "prm")
    assert found.texts.steps_column == "steps"
    assert "3 samples of 1 problems" in found.report.line


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """A server of the folder that the sample set lies in."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = lambda *arguments: Quiet(*arguments, directory=str(folder.parent))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_is_read_by_its_address(folder: Path, address: str) -> None:
    for name in ("set/", "set/samples.parquet"):
        by_path = sample_checks.describe_file(options(str(folder.parent / name)))
        by_address = sample_checks.describe_file(options(f"{address}/{name}"))
        assert by_address.texts.digest == by_path.texts.digest, name
        assert by_address.place == f"{address}/{name}"
    with pytest.raises(InputError, match=f"{address}/none.jsonl: cannot be fetched: .*404"):
        fetch(f"{address}/none.jsonl")


def test_it_is_read_and_checked_by_its_name_on_a_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, file: str, repo_type: str) -> str:
        assert (name, repo_type) == ("org/mine", "dataset")
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    fetch.cache_clear()
    found = sample_checks.describe_file(options("hub:org/mine"))
    assert isinstance(found, SamplesFile)
    assert found.file.slots == 3
    (folder / "samples.parquet").write_bytes((folder / "samples.parquet").read_bytes() + b" ")
    fetch.cache_clear()
    with pytest.raises(InputError, match=r"samples\.parquet"):
        sample_checks.describe_file(options("hub:org/mine"))


def test_rows_that_were_changed_are_refused(folder: Path) -> None:
    rows = pd.read_parquet(folder / "samples.parquet")
    rows["is_correct"] = ~rows["is_correct"]
    rows.to_parquet(folder / "samples.parquet")
    with pytest.raises(InputError, match=r"samples\.parquet: is not the file that sample_set\.json was written for"):
        sample_checks.describe_file(options(str(folder)))
    (folder / "samples.parquet").unlink()
    with pytest.raises(InputError, match=r"has sample_set\.json, and no samples\.parquet"):
        sample_checks.describe_file(options(str(folder)))
    (folder / "sample_set.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read as the description of a sample set"):
        sample_checks.describe_file(options(str(folder)))


def test_a_folder_that_is_there_is_not_written_over(root: Path, folder: Path, capsys: Printed) -> None:  # noqa: F811
    before = (folder / "samples.parquet").read_bytes()
    assert export.main(["--root", str(root), "--study", "mine", "--format", "sample_set", "--out", str(folder)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (folder / "samples.parquet").read_bytes() == before
    absent = ["--root", str(root), "--study", "mine", "--format", "sample_set", "--split", "ood"]
    assert export.main([*absent, "--out", str(root.parent / "ood")]) == 2
    assert "it has no samples of the split ood" in capsys.readouterr().err
    assert not (root.parent / "ood").exists()
