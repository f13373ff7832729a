"""kill -9 at every storage call that writes, and again and again on one store: nothing is lost, doubled or changed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from components.dataflow.maintenance import verify
from components.dataflow.store import Store
from tests.conftest import Counted
from tests.faults.fake import Config, crashing_store, in_child, rows_of, study

pytestmark = pytest.mark.slow
SMALL = Config(count=12)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str | None], object, list[str]]:
    """Digests and rows of a run that nothing disturbs, and its storage calls."""
    root = tmp_path_factory.mktemp("undisturbed")
    store = crashing_store(root, -1, "before")
    _, datasets = study(store, SMALL)
    return [dataset.digest for dataset in datasets], rows_of(Store(root), datasets), store.files.calls  # type: ignore[attr-defined]


def assert_whole(root: Path, undisturbed: tuple[list[str | None], object, list[str]]) -> None:
    store = Store(root)
    _, datasets = study(store, SMALL)
    assert [dataset.digest for dataset in datasets] == undisturbed[0]
    assert rows_of(store, datasets) == undisturbed[1]
    assert verify(store, deep=True).findings == []


# Before a call, or one that only reads, the store is as after the one before; half done a put or a create can be.
@pytest.mark.parametrize("moment", ["half", "after"])
def test_a_kill_at_every_storage_call(
    tmp_path: Path, undisturbed: tuple[list[str | None], object, list[str]], moment: str, counted: Counted
) -> None:
    calls = [
        call for call, name in enumerate(undisturbed[2], start=1) if moment == "after" or name in ("put", "create")
    ]
    assert len(calls) > 50
    kills = 0
    for call in calls:
        root = tmp_path / str(call)
        assert in_child(lambda root=root, call=call: study(crashing_store(root, call, moment), SMALL)) == -9
        kills += 1
        assert_whole(root, undisturbed)
    counted(f"{kills} kills {moment} storage calls: 0 rows lost, doubled or changed")


def test_kills_again_and_again_on_one_store(
    tmp_path: Path, undisturbed: tuple[list[str | None], object, list[str]], counted: Counted
) -> None:
    rng = random.Random(0)
    kills = 0
    for round_ in range(10):
        root = tmp_path / str(round_)
        status = -9
        while status == -9:
            call, moment = rng.randint(1, len(undisturbed[2]) + 10), rng.choice(["before", "half", "after"])
            status = in_child(
                lambda root=root, call=call, moment=moment: study(crashing_store(root, call, moment), SMALL)
            )
            kills += status == -9
        assert status == 0
        assert_whole(root, undisturbed)
    assert kills > 10
    counted(f"{kills} kills in turn on 10 stores: 0 rows lost, doubled or changed")


def test_samples_that_were_there_stay_after_a_kill_while_growing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _, [_, before, *_] = study(store)
    assert in_child(lambda: study(crashing_store(tmp_path, 30, "after"), Config(samples=4))) == -9
    _, [_, after, *_] = study(store, Config(samples=4))
    assert {shard.digest for shard in before.shards} < {shard.digest for shard in after.shards}
