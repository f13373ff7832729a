"""Truncated, bit-flipped, emptied and missing files: each is found, none is served, and repair recomputes only them."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from components.dataflow.errors import StoreError
from components.dataflow.maintenance import repair, verify
from components.dataflow.storage import Files
from components.dataflow.store import Store
from tests.conftest import Counted
from tests.faults.fake import rows_of, study

pytestmark = pytest.mark.slow


def damage(path: Path, how: str, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    path.unlink()  # a dataset's part is a hard link to its shard: only this name is to be damaged
    if how == "truncated":
        path.write_bytes(data[: rng.randrange(len(data))])
    elif how == "flipped":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "extended":
        path.write_bytes(data + b"\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "store"
    study(Store(root))
    return root


def test_every_damaged_file_is_found(whole: Path, tmp_path: Path, counted: Counted) -> None:
    rng = random.Random(1)
    root = tmp_path / "store"
    shutil.copytree(whole, root)
    files = [file.path for kind in ("shards", "commits", "datasets", "runs") for file in Files(root).find(kind)]
    assert verify(Store(root), deep=True).findings == []
    found = served = 0
    for number in range(500):
        path = rng.choice(files)
        how = rng.choice(["truncated", "flipped", "emptied", "extended"])
        original = (root / path).read_bytes()
        damage(root / path, how, rng)
        findings = verify(Store(root), deep=True).findings
        assert any(finding.path == path for finding in findings), (number, how, path)
        found += 1
        served += reads_without_error(root)
        (root / path).write_bytes(original)
    counted(f"{found} of 500 damaged files found by verify --deep; {served} runs read on, none of damaged bytes")


def reads_without_error(root: Path) -> bool:
    """Read every table as a study does; if that succeeds, the rows must be right."""
    store = Store(root)
    try:
        _, datasets = study(store)
        rows = rows_of(store, datasets)
    except StoreError:
        return False
    assert len(rows[0]) == 24
    assert sorted(n for n, _, _ in rows[2]) == sorted((i * 10 + s) * 10 for i in range(24) for s in range(2))
    return True


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "missing"])
def test_repair_puts_the_bad_shard_aside_and_only_it_is_computed_again(whole: Path, tmp_path: Path, how: str) -> None:
    root = tmp_path / "store"
    shutil.copytree(whole, root)
    store = Store(root)
    _, before = study(store)
    bad = before[1].shards[3]
    damage(root / bad.path, how, random.Random(2))
    with pytest.raises(StoreError, match=r"damaged|missing"):
        rows_of(store, before)
    findings = verify(store, deep=how == "flipped").findings
    assert bad.path in {finding.path for finding in findings}
    moved = repair(store, findings)
    assert all((root / "quarantine" / path).exists() for path in moved)
    runner, after = study(store)
    assert [dataset.digest for dataset in after] == [dataset.digest for dataset in before]
    by_name = {run.name: run for run in runner.runs}
    assert by_name["samples"].shards_total - by_name["samples"].shards_reused == 1
    assert verify(store, deep=True).findings == []
