"""A record is believed only for what was asked: swapped, forged, damaged, older and newer ones are found by the next
read and by plain `verify`, or change nothing; none ends in a traceback or touches a file outside of the store."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import io
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.dataflow import store_marker, visibility
from components.dataflow.errors import StoreError, StudyError
from components.dataflow.garbage import garbage
from components.dataflow.maintenance import repair, verify
from components.dataflow.poison_rows import Attempts
from components.dataflow.records import is_name, seal, stage_of, unseal
from components.dataflow.store import Store
from components.dataflow.train_executor import progress_of
from tests.conftest import Counted
from tests.faults.fake import Config, publish_model, rows_of, study
from tests.flows.test_commands import do

KEY = "a" * 64
SMALL = Config(count=6)
Printed = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two runs and two models, in a folder with a file of another's beside it."""
    home = tmp_path_factory.mktemp("whole")
    store = Store(home / "store")
    for config in (Config(count=9), SMALL):
        study(store, config)
    publish_model(store, "prm", KEY, b"weights", home / "built")
    publish_model(store, "orm", KEY, b"others", home / "built")
    shutil.rmtree(home / "built")
    (home / "thesis.tex").write_text("thesis")
    return home


@pytest.fixture
def home(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(visibility, "_SECONDS", 0.0)
    return linked(whole, tmp_path / "home")


def linked(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target, copy_function=os.link))


def outside(home: Path) -> dict[str, bytes]:
    """What lies beside the store."""
    store = home / "store"
    paths = [path for path in home.rglob("*") if path.is_file() and store not in path.parents]
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in paths}


def write(path: Path, data: bytes) -> None:
    """In place of a file that has several names."""
    path.unlink()
    path.write_bytes(data)


def records(root: Path, kind: str) -> list[Path]:
    patterns = {"commits": "commits/*/*.json", "datasets": "datasets/*/_manifest.json", "runs": "runs/*/*.json"}
    patterns |= {"models": "models/*/_manifest.json", "lists": "models/*/*/_files.json"}
    return sorted(root.glob(patterns[kind]))


def served(store: Store) -> list[Any]:
    """All that a next run reads: the rows of its tables, and a model's files."""
    _, datasets = study(store, SMALL)
    found = store.model("prm", KEY)
    if found is None:
        return [*rows_of(store, datasets), None]
    folder = store.local_model(found[0])
    return [*rows_of(store, datasets), (folder / "model.safetensors").read_bytes()]


# By hand ----------------------------------------------------------------------------------------------------------


def tables(root: Path) -> dict[str, tuple[Path, Path]]:
    """stage → (its folder in the older run, in the newer one)."""
    found: dict[str, dict[int, Path]] = {}
    for path in records(root, "datasets"):
        record = unseal(path.read_bytes(), "")
        count = sum(shard["rows"] for shard in record["shards"])
        found.setdefault(record["stage"], {})[count] = path.parent
    return {
        stage: (by_rows[max(by_rows)], by_rows[min(by_rows)]) for stage, by_rows in found.items() if len(by_rows) > 1
    }


@pytest.mark.parametrize("stage", ["numbers", "samples", "graded"])
@pytest.mark.parametrize("how", ["folder", "manifest", "manifest of another stage"])
def test_a_dataset_copied_over_another_is_not_served(home: Path, stage: str, how: str, capsys: Printed) -> None:
    root = home / "store"
    right = served(Store(linked(home, home.parent / "undisturbed") / "store"))
    other, table = tables(root)[stage]
    if how == "folder":
        shutil.rmtree(table)
        shutil.copytree(other, table)
    else:
        source = other if how == "manifest" else tables(root)["samples" if stage != "samples" else "graded"][1]
        write(table / "_manifest.json", (source / "_manifest.json").read_bytes())
    with pytest.raises(StoreError, match="is refused"):
        served(Store(root))
    status, printed = do(capsys, root, "verify")
    assert status == 1
    assert f"bad: datasets/{table.name}/_manifest.json" in printed
    assert do(capsys, root, "verify", "--repair")[0] == 0
    assert served(Store(root)) == right
    assert do(capsys, root, "verify", "--deep")[0] == 0


def test_a_model_copied_over_another_is_not_served(home: Path) -> None:
    root = home / "store"
    [prm], [orm] = root.glob("models/prm-*"), root.glob("models/orm-*")
    shutil.rmtree(prm)
    shutil.copytree(orm, prm)
    with pytest.raises(StoreError, match="record of stage orm, and prm was asked for"):
        served(Store(root))
    assert {finding.path for finding in verify(Store(root), deep=False).findings} == {
        f"models/{prm.name}/_manifest.json"
    }


def test_commits_that_changed_places_are_not_served(home: Path) -> None:
    root = home / "store"
    for path in records(root, "datasets"):
        path.unlink()
    one, other = sorted((root / "commits/samples").iterdir())[:2]
    first, second = one.read_bytes(), other.read_bytes()
    write(one, second)
    write(other, first)
    with pytest.raises(StoreError, match="was asked for"):
        served(Store(root))
    found = {finding.path for finding in verify(Store(root), deep=False).findings}
    assert found == {f"commits/samples/{path.name}" for path in (one, other)}


@pytest.mark.parametrize("rows", [["part-00009.parquet", "datasets/numbers-*"], ["extra.bin", "models/prm-*/*"]])
def test_a_file_that_a_record_does_not_name_is_found(home: Path, rows: list[str]) -> None:
    """Who opens the folder would read it with the rest."""
    root = home / "store"
    name, pattern = rows
    folder = sorted(path for path in root.glob(pattern) if path.is_dir())[0]
    (folder / name).write_bytes(b"strange")
    [finding] = verify(Store(root), deep=False).findings
    assert finding.path == (folder / name).relative_to(root).as_posix()
    repair(Store(root), [finding])
    assert not (folder / name).exists()


@pytest.mark.parametrize(
    "name", ["../../thesis.tex", "/thesis.tex", "..\\thesis.tex", "a\0b", "x" * 5000, ".hidden", "", "a/../../b"]
)
def test_a_forged_name_of_a_models_file_touches_nothing(
    home: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's files are written into a cache by their names, and moved by repair."""
    root, cache = home / "store", tmp_path / "cache"
    [manifest] = root.glob("models/prm-*/_manifest.json")
    record = unseal(manifest.read_bytes(), "")
    record["files"] = {name: "0" * 64}
    write(manifest, seal(record))
    before = outside(home)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    store = Store(f"file://{root}")  # fetched into the cache, as from object storage
    with pytest.raises(StoreError, match="is refused"):
        store.local_model(store.model("prm", KEY)[0])  # type: ignore[index]
    repair(Store(root), verify(Store(root), deep=True).findings)
    assert outside(home) == before
    assert not cache.exists()


def test_a_damaged_model_in_the_cache_is_fetched_anew(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = Store(f"file://{home / 'store'}")
    found = store.model("prm", KEY)
    assert found is not None
    for damage in (lambda path: path.write_bytes(b"weigHts"), lambda path: path.unlink()):
        folder = store.local_model(found[0])
        assert (folder / "model.safetensors").read_bytes() == b"weights"
        damage(folder / "model.safetensors")
    assert (store.local_model(found[0]) / "model.safetensors").read_bytes() == b"weights"
    assert len(list((tmp_path / "cache/stepverify").iterdir())) == 1


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ('{"store": "stepverify", "format": 2}', "format 2, and this version reads 1. It was made by a newer version"),
        ('{"store": "stepverify", "format": 0}', "format 0, and this version reads 1. It was made by an older one"),
        ('{"store": "stepverify", "form', "not the marker of a store"),
        ('{"store": "a shop"}', "not the marker of a store"),
        ('{"store": "stepverify", "format": true}', "not the marker of a store"),
        ("[" * 100_000, "not the marker of a store"),
        ("", "not the marker of a store"),
    ],
)
def test_a_store_of_another_format_is_told_in_one_line(home: Path, marker: str, words: str, capsys: Printed) -> None:
    write(home / "store/store.json", marker.encode())
    for command in ([], ["plan"], ["status"], ["verify"], ["gc"]):
        status, printed = do(capsys, home / "store", *command)
        assert status == 2
        assert words in printed
        assert len(printed.splitlines()) == 1


def test_a_store_of_before_is_adopted_and_told(home: Path, capsys: Printed) -> None:
    root = home / "store"
    (root / "store.json").unlink()
    status, printed = do(capsys, root, "verify")
    assert status == 0
    assert "note: " in printed
    assert "the next run gives it a store.json" in printed
    assert not (root / "store.json").exists()
    status, printed = do(capsys, root)
    assert status == 0
    assert "was begun before stores were marked; it has a store.json now" in printed
    assert "note:" not in do(capsys, root)[1]
    assert json.loads((root / "store.json").read_text())["format"] == store_marker.FORMAT


@pytest.mark.parametrize("field", ["rows", "rows_error", "size"])
@pytest.mark.parametrize("value", [10**400, -1, 2**63, 1.5, True, "1"])
def test_counts_that_cannot_be_are_refused(home: Path, field: str, value: Any, capsys: Printed) -> None:
    root = home / "store"
    for kind, path in (("datasets", records(root, "datasets")[-1]), ("commits", records(root, "commits")[-1])):
        record = unseal(path.read_bytes(), "")
        (record["shards"][0] if kind == "datasets" else record)[field] = value
        before = path.read_bytes()
        write(path, seal_any(record))
        assert path.relative_to(root).as_posix() in {finding.path for finding in verify(Store(root), False).findings}
        for command in ([], ["plan"], ["status"], ["gc"]):
            assert do(capsys, root, *command)[0] in (0, 1)
        write(path, before)


def test_bytes_that_are_no_table_are_refused(home: Path) -> None:
    """A record can name any bytes by their digest."""
    root = home / "store"
    store = Store(root)
    _, datasets = study(store, SMALL)
    table = pa.table({"other": [1], "error": pa.nulls(1, pa.string())})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    for data, rows in ((b"no Parquet", 1), (buffer.getvalue(), 1)):
        value = hashlib.sha256(data).hexdigest()
        (root / f"shards/samples/{value}.parquet").write_bytes(data)
        forged_shard = dataclasses.replace(
            datasets[1].shards[0], digest=value, size=len(data), rows=rows, rows_error=0, attributes={}
        )
        parts = (forged_shard, *datasets[1].shards[1:])
        with pytest.raises(StoreError):
            store.read(dataclasses.replace(datasets[1], shards=parts))


@pytest.mark.parametrize(
    "note", [b"[]", b"5", b"[" * 100_000, b'{"step": 1e999, "steps": "x"}', b'{"notices": 5}', b""]
)
def test_notes_that_are_not_sealed_are_read_as_none(tmp_path: Path, note: bytes) -> None:
    """Nothing hangs on them: how far a training is, how often a shard was tried."""
    store = Store(tmp_path)
    store.files.put("scratch/x/progress.json", note)
    store.files.put("scratch/attempts/x.json", note)
    assert progress_of(store, "scratch/x") is None
    diverged = {"step": 3, "steps": 9, "loss": float("nan"), "tokens_per_second": 1.5, "notices": ["put aside"]}
    store.files.put("scratch/y/progress.json", json.dumps(diverged).encode())
    found = progress_of(store, "scratch/y")
    assert found is not None
    assert (found["step"], found["notices"]) == (3, ["put aside"])
    assert Attempts(store.files, "x").deaths == {}


# By chance --------------------------------------------------------------------------------------------------------

HOSTILE = ["../../thesis.tex", "/etc/passwd", "a\\b", "a\0b", "x" * 5000, "", "\x1b[2J", "\ud800", None, [], {}, -1, 0]
HOSTILE += [10**400, float("inf"), float("nan"), True, [None], {"a": None}, [[1]], 1.5, "0" * 64, "Samples"]


def forged(rng: random.Random, path: Path, others: list[Path]) -> bytes:
    """Other bytes for a record: damaged, another's, or sealed again with something else in it."""
    data = path.read_bytes()
    what = rng.randrange(10)
    if what == 0:
        return data[: rng.randrange(len(data))]
    if what == 1:
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if what == 2:
        return rng.choice(others).read_bytes()
    if what == 3:
        return rng.choice(
            [b"", b"\0" * 200, b"{}", b'{"sha256":"', seal_any(rng.choice(HOSTILE)), seal_any(nested(900))]
        )
    record = unseal(data, "")
    places = list(leaves(record))
    for _ in range(rng.choice([1, 1, 1, 3])):
        owner, name = rng.choice(places)
        value = rng.choice(HOSTILE)
        act = rng.randrange(6)
        if act == 0 and isinstance(owner, dict):
            owner.pop(name, None)
        elif act == 1 and isinstance(owner, dict):
            owner[rng.choice(["new", "../x", ""])] = value
        else:
            owner[name] = copy.deepcopy(value)
    return seal_any(record)


def seal_any(value: Any) -> bytes:
    """Sealed as records are, whatever it is: lone surrogates, infinities and bare values too."""
    body = json.dumps(value)
    return f'{{"sha256":"{hashlib.sha256(body.encode()).hexdigest()}","record":{body}}}\n'.encode()


def seal_deep(depth: int) -> bytes:
    body = b"[" * depth + b"]" * depth
    return b'{"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'","record":' + body + b"}\n"


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


def leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """(owner, name) of every value in a record, the record's own fields more often."""
    for name, inner in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, name
        if isinstance(inner, dict | list):
            yield from leaves(inner)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["commits", "datasets", "models", "runs", "lists"])
def test_500_damaged_and_forged_records(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, capsys: Printed, counted: Counted
) -> None:
    monkeypatch.setattr(visibility, "_SECONDS", 0.0)
    rng = random.Random(kind)
    right = served(Store(linked(whole, tmp_path / "right") / "store"))
    refused = found = harmless = 0
    for number in range(500):
        home = linked(whole, tmp_path / "home")
        root, before = home / "store", outside(home)
        others = records(root, kind)
        path = rng.choice(others)
        if kind == "commits" and number % 2:
            for manifest in records(root, "datasets"):
                manifest.unlink()  # as in a run that was killed: the next one reads the commits
        write(path, forged(rng, path, others))
        findings = verify(Store(root), deep=False).findings
        for look in (lambda root=root: garbage(Store(root), 0), lambda root=root: do_all(capsys, root)):
            try:
                look()
            except (StoreError, OSError):
                continue
        try:
            rows = served(Store(root))
        except (StoreError, StudyError):
            refused += 1
        else:
            assert rows == right, (number, path, findings)
            harmless += not findings
        found += bool(findings)
        repair(Store(root), verify(Store(root), deep=True).findings)
        after = served(Store(root))
        assert after[:-1] == right[:-1], (number, path)
        assert after[-1] in (right[-1], None), (number, path)
        assert outside(home) == before, (number, path)
        shutil.rmtree(home)
    counted(
        f"500 damaged or forged {kind}: {found} found by verify, {refused} by a read, {harmless} harmless; 0 wrong rows"
    )


def do_all(capsys: Printed, root: Path) -> None:
    """Commands that read records, as users give them: a line and a status, whatever they find."""
    for command in (["status"], ["explain", "graded"], ["plan"]):
        status, printed = do(capsys, root, *command)
        assert status in (0, 1)
        assert "Traceback" not in printed


def test_a_text_that_looks_like_half_a_character_is_a_text(tmp_path: Path) -> None:
    """LaTeX in a prompt, say; half of a surrogate pair itself cannot be in a record."""
    for text in ("\\udots", "\\\\ud800", "a\\ud9", "ü\\u0041"):
        assert unseal(seal({"text": text}), "x") == {"text": text}
    with pytest.raises(StoreError, match="not a record"):
        unseal(seal_any({"text": "\ud800"}), "x")


@pytest.mark.parametrize("rate", [0.001, 1e-05, 3e-4, 1.5e-07, 1.0, 12.5])
def test_the_models_of_a_sweep_have_names_that_a_store_gives(rate: float) -> None:
    assert is_name("stage", f"prm_at_{rate}")
    assert stage_of(f"models/prm_at_{rate}-{'0' * 16}/_manifest.json") == f"prm_at_{rate}"
