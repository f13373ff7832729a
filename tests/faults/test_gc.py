"""`gc` removes only what a store made and no kept run needs: beside it, files of others are there afterwards, and what
it cannot know stops it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.dataflow import store_marker
from components.dataflow.errors import StoreError
from components.dataflow.garbage import collect, garbage
from components.dataflow.leases import Lease
from components.dataflow.maintenance import repair, verify
from components.dataflow.model_files import folder_digest
from components.dataflow.records import OWN_FOLDERS, seal, unseal
from components.dataflow.runner import Runner
from components.dataflow.stage import Model
from components.dataflow.storage import Files
from components.dataflow.store import Store
from tests.conftest import Counted
from tests.faults import s3
from tests.faults.fake import Config, in_child, publish_model, serial_stream, stages, study
from tests.flows.test_commands import do

DAY = 86_400.0
Printed = pytest.CaptureFixture[str]


def age(root: Path, days: float) -> None:
    """Let everything in a folder be so old."""
    then = time.time() - days * DAY
    for path in root.rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a run of before, whose rows are garbage, and a newer one."""
    store = Store(tmp_path / "store")
    study(store, Config(count=40))
    study(store)
    age(tmp_path / "store", 30)
    return tmp_path / "store"


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"thesis/chapter1.tex": "x", ".ssh/id_ed25519": "key", "runs/marathon/2024.json": "{}", "shards/a/b": "c"}
    for name, text in others.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    age(tmp_path, 30)
    before = tree(tmp_path)
    for command in (["gc", "--delete"], ["gc", "--delete", "--delete-everything"], ["verify", "--repair"], ["status"]):
        more = ["--grace-days", "0"] if command[0] == "gc" else []
        status, printed = do(capsys, tmp_path, *command, *more)
        assert status == 2
        assert "is not a store: it has no store.json" in printed
    monkeypatch.chdir(tmp_path)
    status, printed = do(capsys, "", "gc", "--delete")
    assert (status, tree(tmp_path)) == (2, before)
    with pytest.raises(StoreError, match="no store"):
        garbage(Store(tmp_path), grace_seconds=0, without_runs=True)


def test_a_store_that_is_not_there_is_never_0_bad(tmp_path: Path, capsys: Printed) -> None:
    status, printed = do(capsys, tmp_path / "nowhere", "verify", "--deep")
    assert (status, "0 bad" in printed) == (2, False)
    assert not (tmp_path / "nowhere").exists()


def test_files_of_a_neighbour_are_listed_and_left(root: Path, capsys: Printed) -> None:
    others = ["other-team/data.parquet", "shards/samples/notes.txt", "datasets/README.md", "commits/x/y.json"]
    others += ["models/prm-0123456789abcdef/thesis.tex", "mine.txt", "scratch/big.bin", f"shards/{'A' * 64}.parquet"]
    for name in others:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    age(root, 30)
    status, printed = do(capsys, root, "gc", "--delete", "--grace-days", "0")
    assert status == 0
    assert all((root / name).read_text() == name for name in others)
    for name in ("other-team/", "shards/samples/notes.txt", "mine.txt", "models/prm-0123456789abcdef/thesis.tex"):
        assert f"left alone, since the store did not name it: {name}\n" in printed
    assert "removed shards/samples/" in printed


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user, whom only root can be")
@pytest.mark.parametrize("hidden", ["runs/fake", "datasets", "shards/samples"])
def test_what_cannot_be_listed_stops_it(root: Path, hidden: str) -> None:
    """A colleague with umask 077: the records of the runs are there, and another user does not see them."""
    root.chmod(0o777)
    for path in root.parents:
        if path.stat().st_uid == 0 and path.name.startswith(("pytest-", "test_")):
            path.chmod(0o755)
    for path in root.rglob("*"):
        path.chmod(0o777)
    (root / hidden).chmod(0o700)
    before = tree(root)

    def as_another() -> None:
        os.setuid(65534)
        for look in (lambda: garbage(Store(root), 0, without_runs=True), lambda: verify(Store(root), deep=False)):
            with pytest.raises(PermissionError):
                look()

    assert in_child(as_another) == 0
    assert tree(root) == before


def test_a_link_to_a_folder_stops_it(root: Path, tmp_path: Path) -> None:
    """What is behind it may be records of runs."""
    (tmp_path / "elsewhere").mkdir()
    (root / "runs/linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link to a folder"):
        garbage(Store(root), grace_seconds=0)


def test_a_store_without_a_record_of_a_run_wants_a_word_more(root: Path, capsys: Printed) -> None:
    shutil.rmtree(root / "runs")
    before = tree(root)
    status, printed = do(capsys, root, "gc", "--delete", "--grace-days", "0")
    assert (status, tree(root)) == (1, before)
    assert "no record of a run" in printed
    assert "--delete-everything" in printed
    assert do(capsys, root, "gc", "--delete", "--delete-everything", "--grace-days", "0")[0] == 0
    assert {name.partition("/")[0] for name in tree(root)} == {"store.json"}


@pytest.mark.parametrize("limit", [("--keep-runs", "0"), ("--grace-days", "-1"), ("--grace-days", "nan")])
def test_limits_below_their_least_are_refused(root: Path, capsys: Printed, limit: tuple[str, str]) -> None:
    before = tree(root)
    status, printed = do(capsys, root, "gc", "--delete", *limit)
    assert (status, tree(root)) == (2, before)
    assert f"error: {limit[0]} {limit[1].replace('-1', '-1.0')}: must be" in printed


class Stopped(Exception):
    pass


def half_done(root: Path) -> Store:
    """A store whose only run stopped in the middle of its second stage, long ago."""
    store = Store(root)
    store_marker.begin(store.files)
    calls = []

    def stops(pending: list, following: list, pools: dict, store: Store) -> None:
        for task in pending[:7]:
            serial_stream([task], following, pools, store)
            calls.append(task)
        raise Stopped

    runner = Runner(store, study="fake", say=lambda line: None, stream=stops)
    source, sampled, graded, _ = stages(Config())
    with pytest.raises(Stopped):
        runner.map(runner.table(source), sampled, graded)
    assert len(calls) == 7
    age(root, 30)
    return store


def test_what_the_newest_unfinished_run_is_making_is_kept_whatever_its_age(tmp_path: Path) -> None:
    store = half_done(tmp_path)
    assert garbage(store, grace_seconds=0).files == ()
    runner, _ = study(store)
    assert {run.name: run.shards_reused for run in runner.runs}["samples"] == 7


def test_what_a_live_lease_is_making_is_kept_whatever_its_age(tmp_path: Path) -> None:
    """Its run is old, and a newer one of the same study, over other problems, has finished meanwhile."""
    store = half_done(tmp_path)
    [record] = [file.path for file in store.files.find("runs")]
    [manifest] = [file.path for file in store.files.find("datasets") if file.path.endswith(".json")]
    commits = {file.path for file in store.files.find("commits/samples")}
    graded = {file.path for file in store.files.find("commits/graded")}  # streamed behind it, under the same lease
    assert graded
    study(store, Config(count=8))
    age(tmp_path, 30)
    with Lease(store.files, f"samples-{'0' * 16}", lambda: False, print, record):
        removed = {file.path for file in garbage(store, grace_seconds=0).files}
    assert not removed & {record, manifest, *commits, *graded}
    removed = {file.path for file in garbage(store, grace_seconds=0).files}
    assert {record, manifest} <= removed
    assert removed & commits


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(bytes(data))


def test_rows_whose_manifest_was_put_aside_are_kept(root: Path, capsys: Printed) -> None:
    """They are whole, and the next run goes on with them."""
    store = Store(root)
    _, datasets = study(store)
    age(root, 30)
    damaged(root / datasets[1].folder / "_manifest.json")
    with pytest.raises(StoreError, match="damaged"):
        garbage(store, grace_seconds=0)
    assert do(capsys, root, "verify", "--repair")[0] == 0
    found = garbage(store, grace_seconds=0)
    assert not {file.path for file in found.files} & {shard.path for shard in datasets[1].shards}
    assert any(note.startswith("everything of samples is kept") for note in found.notes)
    collect(store, found)
    runner, again = study(store)
    assert {run.name: run.shards_reused for run in runner.runs}["samples"] == len(datasets[1].shards)
    assert again == datasets


def test_a_damaged_record_of_a_run_that_was_put_aside_stops_it(root: Path, capsys: Printed) -> None:
    for record in (root / "runs/fake").iterdir():
        damaged(record)
    status, printed = do(capsys, root, "verify", "--repair")
    assert status == 0
    assert "gc waits until those studies have run again" in printed
    before = tree(root)
    status, printed = do(capsys, root, "gc", "--delete", "--delete-everything", "--grace-days", "0")
    assert (status, tree(root)) == (1, before)
    assert "a damaged record of a run was put aside" in printed
    _, datasets = study(Store(root))
    found = garbage(Store(root), grace_seconds=0)
    assert not {file.path for file in found.files} & {shard.path for dataset in datasets for shard in dataset.shards}


@pytest.mark.parametrize("folder", ["shards", "runs", "quarantine", "studies"])
def test_a_folder_of_the_store_that_is_a_link_is_refused(
    root: Path, tmp_path: Path, folder: str, capsys: Printed
) -> None:
    """What lies behind it is another's."""
    study(Store(tmp_path / "other"))
    (tmp_path / "other" / folder).mkdir(exist_ok=True)
    shutil.rmtree(root / folder, ignore_errors=True)
    (root / folder).symlink_to(tmp_path / "other" / folder)
    before = tree(tmp_path / "other")
    for command in (["gc", "--delete", "--grace-days", "0"], ["verify", "--repair"], [], ["plan"]):
        status, printed = do(capsys, root, *command)
        assert status == 2
        assert f"{folder} is a link" in printed
    assert tree(tmp_path / "other") == before


def test_a_run_that_looks_for_what_is_there_keeps_it(root: Path) -> None:
    """A run of the older settings, which finds all of its rows, and has looked at the first stage only."""
    store = Store(root)
    runner = Runner(store, study="fake", say=lambda line: None)
    source, sampled, graded, _ = stages(Config(count=40))
    problems = runner.table(source)
    found = garbage(store, grace_seconds=0)
    assert {file.path.partition("/")[0] for file in found.files} <= {"runs"}
    assert any("looks for what is there just now" in note for note in found.notes)
    _, grades = runner.map(problems, sampled, graded)
    assert {run.status for run in runner.runs} == {"HIT"}
    runner.write_record(finished=True)
    assert not {file.path for file in garbage(store, 0).files} & {shard.path for shard in grades.shards}


def test_a_run_that_begins_after_gc_looked_stops_it(root: Path) -> None:
    store = Store(root)
    found = garbage(store, grace_seconds=0)
    assert len(found.files) > 50
    _, datasets = study(store, Config(count=40))  # of the older settings: it finds all of its rows
    with pytest.raises(StoreError, match=r"a run began or went on while gc looked, so it stopped after 0 of"):
        collect(store, found)
    assert verify(store, deep=True).findings == []
    assert store.dataset_in(datasets[2].folder) == datasets[2]


def test_a_run_of_one_stage_pins_nothing_for_long(root: Path, capsys: Printed) -> None:
    for stage in ("graded", "gradde"):
        do(capsys, root, "--only", stage)
    age(root, 1)
    found = garbage(Store(root), grace_seconds=0)
    assert found.notes == ()
    assert len(found.files) > 50


def test_a_killed_run_that_ran_to_its_end_pins_nothing(tmp_path: Path) -> None:
    store = half_done(tmp_path)
    study(store, Config(count=8))
    age(tmp_path, 30)
    then = time.time() - 31 * DAY
    os.utime(min((tmp_path / "runs/fake").iterdir()), (then, then))
    for keep_runs in (1, 2):
        found = garbage(store, grace_seconds=0, keep_runs=keep_runs)
        assert found.notes == ()
        assert any(file.path.startswith("commits/samples/") for file in found.files)


def test_a_record_that_was_put_aside_counts_among_the_runs_to_keep(root: Path, capsys: Printed) -> None:
    first = min((root / "runs/fake").iterdir())
    damaged(first)
    assert do(capsys, root, "verify", "--repair")[0] == 0
    assert garbage(Store(root), grace_seconds=0).files != ()  # one run has finished since
    with pytest.raises(StoreError, match="until 2 of its runs have finished since"):
        garbage(Store(root), grace_seconds=0, keep_runs=2)


def test_what_is_written_anew_after_it_looked_is_left(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    publish_model(store, "prm", "a" * 64, b"weights", tmp_path / "built", crash_after=3)  # gone before its manifest
    age(root, 30)
    found = garbage(store, grace_seconds=0)
    weights = {file.path for file in found.files if file.path.endswith("model.safetensors")}
    assert len(weights) == 1
    publish_model(store, "prm", "a" * 64, b"weights", tmp_path / "built")
    collect(store, found)
    model = store.model("prm", "a" * 64)
    assert model is not None
    assert (store.local_model(model[0]) / "model.safetensors").read_bytes() == b"weights"


def test_a_copied_store_keeps_its_newest_run(tmp_path: Path) -> None:
    """Copies have new times, in any order; runs have times in their names too."""
    store = Store(tmp_path)
    study(store, Config(count=8))
    _, newest = study(store)
    age(tmp_path, 30)
    first, last = sorted((tmp_path / "runs/fake").iterdir())
    then = time.time() - 20 * DAY
    os.utime(first, (then, then))
    found = garbage(store, grace_seconds=0)
    assert not {file.path for file in found.files} & {shard.path for dataset in newest for shard in dataset.shards}
    assert last.relative_to(tmp_path).as_posix() not in {file.path for file in found.files}


@pytest.mark.parametrize("given", ["{root}", "{root}/../{name}", "{link}"])
def test_a_model_that_a_run_was_given_by_its_path_is_kept(root: Path, tmp_path: Path, given: str) -> None:
    store = Store(root)
    publish_model(store, "generator", "a" * 64, b"weights", tmp_path / "built")
    (tmp_path / "link").symlink_to(root)
    found = store.model("generator", "a" * 64)
    assert found is not None
    path = found[0].path.replace(str(root), given.format(root=root, name=root.name, link=tmp_path / "link"))
    model = dataclasses.replace(found[0], path=path)
    runner = Runner(store, study="other", say=lambda line: None, stream=serial_stream)
    source, sampled, _, _ = stages(Config(count=4))
    runner.map(runner.table(source), dataclasses.replace(sampled, models={"generator": model}))
    runner.write_record(finished=True)
    age(root, 30)
    collect(store, garbage(store, grace_seconds=0))
    assert (store.local_model(found[0]) / "model.safetensors").read_bytes() == b"weights"
    damaged(root / store.folder_of(found[0]) / "_manifest.json")
    repair(store, verify(store, deep=False).findings)
    found_now = garbage(store, grace_seconds=0)
    assert not [file for file in found_now.files if file.path.startswith("models/")]
    assert any(note.startswith("everything of generator is kept") for note in found_now.notes)


def test_a_model_of_the_users_in_the_store_is_left_and_stops_nothing(root: Path) -> None:
    store, folder = Store(root), root / "models/Qwen2.5-1.5B"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"theirs")
    model = Model(str(folder), *folder_digest(folder))
    runner = Runner(store, study="other", say=lambda line: None, stream=serial_stream)
    source, sampled, _, _ = stages(Config(count=4))
    runner.map(runner.table(source), dataclasses.replace(sampled, models={"generator": model}))
    runner.write_record(finished=True)
    age(root, 30)
    found = garbage(store, grace_seconds=0)
    assert "models/Qwen2.5-1.5B/model.safetensors" in found.foreign
    assert verify(store, deep=False).findings == []


def test_files_of_a_model_whose_record_was_put_aside_can_go(root: Path, tmp_path: Path) -> None:
    """In a store of an earlier version they lie beside their manifest, and nothing else names them."""
    store = Store(root)
    publish_model(store, "prm", "a" * 64, b"weights", tmp_path / "built")
    [folder] = (root / "models").iterdir()
    [inner] = (path for path in folder.iterdir() if path.is_dir())
    record = unseal((folder / "_manifest.json").read_bytes(), "")
    for path in inner.iterdir():
        path.rename(folder / path.name)
    inner.rmdir()
    (folder / "_files.json").unlink()
    del record["folder"]
    (folder / "_manifest.json").write_bytes(seal(record))
    assert verify(store, deep=True).findings == []
    (folder / "model.safetensors").write_bytes(b"other")
    repair(store, verify(store, deep=True).findings)
    age(root, 30)
    found = garbage(store, grace_seconds=0)
    assert {file.path for file in found.files if file.path.startswith("models/")} == {
        f"models/{folder.name}/config.json"
    }


def test_torn_files_of_a_model_go_and_those_being_written_stay(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    publish_model(store, "prm", "a" * 64, b"weights", tmp_path / "built")
    [inner] = root.glob("models/*/*/")
    torn, fresh = (inner / f".model.safetensors.{digit * 32}.tmp" for digit in "ab")
    lease = root / f"leases/samples-{'0' * 16}.json"
    for path in (torn, fresh, lease):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    age(root, 30)
    now = time.time()
    os.utime(fresh, (now - 5, now - 5))
    os.utime(lease, (now - 5, now - 5))
    found = {file.path for file in garbage(store, grace_seconds=0, without_runs=True).files}
    assert torn.relative_to(root).as_posix() in found
    assert not {path.relative_to(root).as_posix() for path in (fresh, lease)} & found


def test_a_run_of_before_that_did_not_finish_is_told(tmp_path: Path) -> None:
    """It did not say what it was making, so nothing of it is guessed."""
    store = Store(tmp_path)
    study(store)
    record = {"study": "old", "finished": False, "stages": {}}
    store.files.put("runs/old/" + f"{1:020d}-00000000.json", seal(record))
    age(tmp_path, 400)
    found = garbage(store, grace_seconds=0)
    assert found.files == ()
    [note] = found.notes
    assert "everything of all stages is kept: runs/old/" in note
    assert "remove that record" in note


def test_two_who_repair_move_what_is_bad_once(root: Path) -> None:
    store = Store(root)
    _, datasets = study(store)
    path = root / datasets[1].shards[0].path
    whole = path.read_bytes()
    damaged(path)
    findings = verify(store, deep=True).findings
    first = repair(store, findings)
    assert datasets[1].shards[0].path in first
    study(store)
    assert repair(store, findings) == []
    assert path.read_bytes() == whole


def test_a_bad_manifest_leaves_its_commits(root: Path) -> None:
    """Rows that were sampled on GPUs would come out otherwise."""
    store = Store(root)
    _, datasets = study(store)
    manifest = root / datasets[1].folder / "_manifest.json"
    record = unseal(manifest.read_bytes(), "")
    record["shards"][0]["attributes"]["sample"] = "7"
    manifest.unlink()
    manifest.write_bytes(seal(record))
    findings = verify(store, deep=False).findings
    assert {finding.path for finding in findings} == {manifest.relative_to(root).as_posix()}
    repair(store, findings)
    runner, again = study(store)
    assert again == datasets
    assert {run.name: run.shards_reused for run in runner.runs}["samples"] == len(datasets[1].shards)


@pytest.mark.slow
def test_another_teams_prefix_of_a_bucket_is_left(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    with s3.serve() as (bucket, _, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        Files(bucket).put("other-team/backup.tar", b"theirs")
        store = Store(f"{bucket}/{uuid.uuid4().hex}")
        for root in (bucket, f"{bucket}/other-team", f"{bucket}/nothing"):
            status = do(capsys, root, "gc", "--delete", "--delete-everything", "--grace-days", "0")[0]  # type: ignore[arg-type]
            assert status == 2
        study(store, Config(count=40))
        study(store)
        store.files.put("other-team/data.parquet", b"theirs too")
        time.sleep(1.1)  # the storage's clock counts seconds
        status, printed = do(capsys, store.root, "gc", "--delete", "--grace-days", "0")  # type: ignore[arg-type]
        assert status == 0
        assert "left alone, since the store did not name it: other-team/" in printed
        assert "removed shards/" in printed
        assert Files(bucket).read("other-team/backup.tar") == b"theirs"
        assert store.files.read("other-team/data.parquet") == b"theirs too"
        assert verify(store, deep=True).findings == []


# Random trees beside random stores ------------------------------------------------------------------------------


def made_stores(root: Path) -> Iterator[Path]:
    """Stores of several histories, old, with models, logs, checkpoints and what kills leave."""
    for number in range(6):
        store = Store(root / str(number))
        for count in [(24,), (40, 24), (8, 16, 24), (40,), (24, 8), (24,)][number]:
            study(store, Config(count=count))
        publish_model(store, "prm", "a" * 64, b"weights", root / "built")
        publish_model(store, "orm", "b" * 64, b"others", root / "built", crash_after=number % 4)
        store.files.put(f"scratch/prm-{'a' * 16}/state-7.pt", b"state")
        store.files.put(f"scratch/attempts/samples-{'c' * 64}.json", b"{}")
        store.files.put(f"tensorboard/prm-{'a' * 16}/events.out.tfevents.1795953395.vm.0", b"log")
        store.files.put(f"shards/samples/.{'d' * 64}.parquet.{'e' * 32}.tmp", b"torn")
        store.files.put(f"leases/samples-{'f' * 16}.json", b"")
        yield root / str(number)


def strange_names(rng: random.Random, taken: list[str]) -> Iterator[str]:
    """Names that no stage writes, near to those that one does, and far from them."""
    for _ in range(rng.randrange(1, 12)):
        part, digits = rng.choice(["x", "Thesis", "a b", "ü", "samples", "prm-1", "..x", "-"]), "0123456789abcdef"
        yield rng.choice(
            [
                f"{rng.choice([*OWN_FOLDERS, 'other', '.git'])}/{part}",
                f"{rng.choice(OWN_FOLDERS)}/{part}/{rng.choice(['notes.txt', '_manifest.json.bak', 'part-1.parquet'])}",
                f"shards/samples/{''.join(rng.choices(digits.upper(), k=64))}.Parquet",
                f"shards/samples/{''.join(rng.choices(digits, k=63))}.parquet",
                f"shards/Samples/{''.join(rng.choices(digits, k=64))}.parquet",
                f"commits/samples/deeper/{''.join(rng.choices(digits, k=64))}.json",
                f"datasets/samples-{''.join(rng.choices(digits, k=16))}/part-00000.csv",
                f"models/prm-{''.join(rng.choices(digits, k=16))}/model.safetensors",
                f"models/prm-{''.join(rng.choices(digits, k=16))}/{'0' * 16}/config.json",
                f"runs/fake/{rng.randrange(10**6)}.json",
                f"leases/{part}.json",
                f"{rng.choice(taken)}.bak",
                f"{rng.choice(taken).rpartition('/')[0] or 'top'}/{part}",
            ]
        )


def write_strange_files(rng: random.Random, root: Path, taken: list[str]) -> Iterator[str]:
    then = time.time() - 30 * DAY
    for name in strange_names(rng, taken):
        with contextlib.suppress(FileExistsError, IsADirectoryError, NotADirectoryError):
            if not (root / name).exists():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(name)
                os.utime(root / name, (then, then))
                yield name


@pytest.mark.slow
def test_every_file_that_no_stage_wrote_is_there_afterwards(tmp_path: Path, counted: Counted) -> None:
    rng, removed, foreign = random.Random(7), 0, 0
    stores = list(made_stores(tmp_path / "made"))
    for path in stores:
        age(path, 30)
    own = {path: sorted(tree(path)) for path in stores}
    for number in range(1000):
        made = rng.choice(stores)
        root = tmp_path / "store"
        shutil.copytree(made, root, copy_function=os.link)
        names = set(write_strange_files(rng, root, own[made]))
        store = Store(root)
        found = garbage(store, grace_seconds=0, keep_runs=rng.choice([1, 2]))
        collect(store, found)
        assert {name for name in names if (root / name).read_text() != name} == set(), number
        assert {name for name in found.foreign if not (root / name).exists()} == set(), number
        removed, foreign = removed + len(found.files), foreign + len(names)
        if number % 50 == 0:
            findings = verify(store, deep=False).findings
            assert [finding for finding in findings if finding.path not in names] == []
        shutil.rmtree(root)
    assert removed > 1000
    counted(f"gc on 1,000 stores with {foreign:,} files of others: {removed:,} of its own removed, 0 of others")
