"""The same promises on object storage, against a real S3 protocol that fails as S3 does."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from components.data.labelled_solutions import read_labelled
from components.data.problem_files import describe_file
from components.data.readers import fetch, read_records
from components.dataflow.errors import InputError
from components.dataflow.garbage import collect, garbage
from components.dataflow.maintenance import verify
from components.dataflow.model_files import file_digest
from components.dataflow.storage import Files
from components.dataflow.store import Store
from flows import evaluate
from tests.conftest import Counted
from tests.faults import s3
from tests.faults.fake import Config, rows_of, study, threaded_stream

pytestmark = pytest.mark.slow
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, s3.Faults]]:
    with s3.serve() as (root, faults, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield root, faults


@pytest.fixture
def root(server: tuple[str, s3.Faults]) -> Iterator[str]:
    yield f"{server[0]}/{uuid.uuid4().hex}"
    server[1].rates, server[1].struck = {}, {}


def test_a_store_on_s3_is_the_one_on_disk(root: str, tmp_path: Path) -> None:
    _, local = study(Store(tmp_path))
    store = Store(root)
    store.files.check()
    _, remote = study(store)
    assert [dataset.digest for dataset in remote] == [dataset.digest for dataset in local]
    runner, again = study(Store(root))
    assert {run.status for run in runner.runs} == {"HIT"}
    assert again == remote
    frame = pd.read_parquet(store.files.url(remote[2].folder))
    assert sorted(frame["number"]) == sorted(number for number, _, _ in rows_of(store, remote)[2])
    assert verify(store, deep=True).findings == []
    assert garbage(store, grace_seconds=3600).files == ()
    unneeded = garbage(store, grace_seconds=0)
    collect(store, unneeded)
    assert rows_of(store, remote) == rows_of(Store(tmp_path), local)


def test_a_folder_that_fills_while_it_is_listed(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its listing is empty, and a moment later the folder exists: s3fs then names the folder among the files."""

    async def empty(*args: object, **options: object) -> list[object]:
        return []

    files = Store(root).files
    files.create("commits/first.json", b"{}")
    assert [found.path for found in files.find("commits")] == ["commits/first.json"]
    monkeypatch.setattr(files._fs, "_lsdir", empty)
    assert files._fs.find(files.url("commits"))  # s3fs's answer, which is no file
    assert list(files.find("commits")) == []


def test_problems_and_labels_are_read_from_s3(root: str, tmp_path: Path) -> None:
    import fsspec

    row = {"problem": "What is 1 + 1?", "answer": "2", "steps": [{"text": "2", "rating": 1}]}
    with fsspec.open(f"{root}/rows.jsonl", "w") as file:
        file.write(json.dumps(row) + "\n")
    path = fetch(f"{root}/rows.jsonl")
    assert describe_file(path).digest == file_digest(path)
    assert [labelled["error"] for labelled in read_labelled(path)] == [None]
    with pytest.raises(InputError, match=r"none\.jsonl: cannot be fetched"):
        fetch(f"{root}/none.jsonl")


def test_folders_and_globs_are_read_from_s3_and_evaluated_there(root: str, tmp_path: Path) -> None:
    import fsspec

    rows = [
        {"problem": f"{n // 2}?", "answer": str(n % 2), "is_correct": n % 2 == 0, "a_score": n / 20} for n in range(20)
    ]
    for part in range(2):
        with fsspec.open(f"{root}/data/part-{part}.jsonl", "w") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows[10 * part : 10 * part + 10]))
    for name in (f"{root}/data", f"{root}/data/part-*.jsonl"):
        assert list(read_records(fetch(name))) == rows
        assert evaluate.main([name, "--root", str(tmp_path)]) == 0
    studies = [json.loads(path.read_text()) for path in tmp_path.glob("studies/*/summary.json")]
    assert sorted(study["file"] for study in studies) == [f"{root}/data", f"{root}/data/part-*.jsonl"]


def test_sixteen_creators_have_one_winner(root: str) -> None:
    files = Files(root)
    start, answers = threading.Barrier(16), []

    def write(number: int) -> None:
        start.wait()
        answers.append(files.create("race", str(number).encode()))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {files.read("race")}


@pytest.mark.parametrize(
    "rates",
    [
        {"503": 0.05},
        {"reset": 0.05},
        {"applied_then_500": 0.1},
        {"409": 0.05},
        {"slow": 0.05},
        {"503": 0.05, "reset": 0.03, "applied_then_500": 0.05, "409": 0.03, "slow": 0.02},
    ],
    ids=lambda rates: "+".join(rates),
)
def test_storage_that_fails_now_and_then(
    server: tuple[str, s3.Faults], root: str, tmp_path: Path, rates: dict[str, float], counted: Counted
) -> None:
    config = Config(count=12)
    _, local = study(Store(tmp_path), config)
    server[1].rates = rates
    _, remote = study(Store(root), config, stream=threaded_stream)
    struck = dict(server[1].struck)
    server[1].rates = {}
    assert all(struck.get(name, 0) > 0 for name in rates)
    assert [dataset.digest for dataset in remote] == [dataset.digest for dataset in local]
    assert rows_of(Store(root), remote) == rows_of(Store(tmp_path), local)
    assert verify(Store(root), deep=True).findings == []
    counted(f"faults struck {struck}: 0 rows lost, doubled or changed")


def test_a_storage_that_is_not_there_is_said(server: tuple[str, s3.Faults]) -> None:
    with pytest.raises(FileNotFoundError):
        Files("s3://no-such-bucket-here/prefix").check()
