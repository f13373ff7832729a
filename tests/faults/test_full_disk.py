"""A disk that is full at any write: a clear failure, nothing torn, and the next run goes on."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from components.dataflow.maintenance import verify
from components.dataflow.storage import Files
from components.dataflow.store import Store
from tests.conftest import Counted
from tests.faults.fake import in_child, rows_of, study


@pytest.mark.parametrize("share", [0, 0.001, 0.05, 0.2, 0.4, 0.6, 0.8, 0.99, 1])
def test_files_that_cannot_grow(tmp_path: Path, share: float) -> None:
    """RLIMIT_FSIZE ends a write in the middle, as a full disk does; at a share of the largest file."""
    _, alone = study(Store(tmp_path / "alone"))
    limit = int(share * _largest(tmp_path / "alone"))
    root = tmp_path / "full"

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        study(Store(root))

    assert in_child(limited) == (0 if share == 1 else 1)
    assert [file.path for file in Files(root).find("") if file.path.endswith(".tmp")] == []
    _, datasets = study(Store(root))
    assert rows_of(Store(root), datasets) == rows_of(Store(tmp_path / "alone"), alone)
    assert verify(Store(root), deep=True).findings == []


def _largest(root: Path) -> int:
    return max(os.path.getsize(root / file.path) for file in Files(root).find(""))


def test_a_disk_that_fills_at_every_write_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Counted
) -> None:
    _, alone = study(Store(tmp_path / "alone"))
    writes = _count_writes(tmp_path / "counted")
    assert writes > 50
    for fail_at in range(1, writes + 1):
        root = tmp_path / str(fail_at)
        with monkeypatch.context() as patch:
            _fail_at(patch, fail_at)
            with pytest.raises(OSError, match="No space left"):
                study(Store(root))
        _, datasets = study(Store(root))
        assert [dataset.digest for dataset in datasets] == [dataset.digest for dataset in alone]
        assert [file.path for file in Files(root).find("") if file.path.endswith(".tmp")] == []
    counted(f"a disk full at each of {writes} writes: 0 rows lost, doubled or changed")


def _count_writes(root: Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        calls = _fail_at(patch, -1)
        study(Store(root))
    return len(calls)


def _fail_at(patch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Make the number-th fsync fail, as a delayed allocation on a full disk does; leases aside."""
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        if "/leases/" not in os.readlink(f"/proc/self/fd/{descriptor}"):
            calls.append("")
            if len(calls) == number:
                raise OSError(28, "No space left on device")
        real(descriptor)

    patch.setattr(os, "fsync", fsync)
    return calls
