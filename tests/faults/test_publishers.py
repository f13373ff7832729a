"""Two publishers of one model, at every interleaving of their storage calls, alive or killed: one model, whole."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from components.dataflow import store_marker
from components.dataflow.garbage import collect, garbage
from components.dataflow.maintenance import verify
from components.dataflow.store import Store
from tests.conftest import Counted

KEY = "a" * 64
CALLS = ("read", "put", "upload", "create")
FILES = ("config.json", "model.safetensors")


class KilledError(Exception):
    pass


class Turns:
    """Lets two threads make their storage calls in a given order; who has no turn left is killed."""

    def __init__(self, order: Sequence[int]) -> None:
        self.order = list(order)
        self.changed = threading.Condition()
        self.within = False  # a call, whose own calls are a part of it

    def call(self, who: int, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        with self.changed:
            if self.within:
                return call(*arguments)
            self.changed.wait_for(lambda: who not in self.order or self.order[0] == who, timeout=30)
            if who not in self.order:
                raise KilledError
            self.within = True
            try:
                return call(*arguments)
            finally:
                self.within = False
                self.order.pop(0)
                self.changed.notify_all()

    def done(self, who: int) -> None:
        """It needs no more turns."""
        with self.changed:
            self.order = [other for other in self.order if other != who]
            self.changed.notify_all()


def publish(root: Path, built: Path, who: int, turns: Turns) -> None:
    store = Store(root)
    for name in CALLS:
        call = getattr(store.files, name)
        setattr(store.files, name, lambda *arguments, call=call: turns.call(who, call, arguments))
    with contextlib.suppress(KilledError):
        store.write_model("prm", KEY, built, {"metrics": {"seed": who}, "seconds": 1.0})
    turns.done(who)


def interleavings(first: int, second: int) -> Iterator[list[int]]:
    for places in itertools.combinations(range(first + second), first):
        yield [0 if place in places else 1 for place in range(first + second)]


def calls_of_one(root: Path, built: Path) -> int:
    turns = Turns([0] * 100)
    publish(root, built, 0, turns)
    store = Store(root)
    assert store.model("prm", KEY) is not None
    counted = 0
    for name in CALLS:
        call = getattr(store.files, name)

        def count(*arguments: Any, call: Callable[..., Any] = call) -> Any:
            nonlocal counted
            counted += 1
            return call(*arguments)

        setattr(store.files, name, count)
    shutil.rmtree(root / "models")
    store.write_model("prm", KEY, built, {})
    return counted


@pytest.mark.slow
def test_two_publishers_leave_one_whole_model(tmp_path: Path, counted: Counted) -> None:
    built = []
    for who in (0, 1):
        built.append(tmp_path / f"built{who}")
        built[who].mkdir()
        for name in FILES:
            (built[who] / name).write_text(f"{name} of {who}" + "!" * who)
    calls = calls_of_one(tmp_path / "counted", built[0])
    assert calls == 2 + len(FILES) + 1  # is there one, what it will hold, its files, and the manifest
    lives = [(calls, calls), *((calls, lived) for lived in range(calls)), *((lived, calls) for lived in range(calls))]
    tried = winners = 0
    for first, second in lives:
        for order in interleavings(first, second):
            root = tmp_path / "store"
            store = Store(root)
            store_marker.begin(store.files)
            turns = Turns(order)
            threads = [
                threading.Thread(target=publish, args=(root, built[who], who, turns))
                for who, turn in ((0, first), (1, second))
                if turn
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            found = store.model("prm", KEY)
            assert found is not None, order
            model, manifest = found
            winner = manifest["metrics"]["seed"]
            folder = store.local_model(model)
            assert [(folder / name).read_text() for name in FILES] == [
                (built[winner] / name).read_text() for name in FILES
            ], order
            assert verify(store, deep=True).findings == [], order
            winners += winner
            tried += 1
            if tried % 25 == 0:  # what the other left is garbage, and nothing else is
                store.files.put("runs/s/" + f"{0:020d}-00000000.json", _run(store, model))
                collect(store, garbage(store, grace_seconds=0))
                assert store.local_model(model) == folder
                assert len(list((root / "models").glob("*/*/model.safetensors"))) == 1
            shutil.rmtree(root)
    assert 0 < winners < tried
    counted(f"two publishers of a model, {tried:,} interleavings of their calls: one model, whole, each time")


def _run(store: Store, model: Any) -> bytes:
    from components.dataflow.records import seal

    return seal({"study": "s", "finished": True, "stages": {"prm": store.folder_of(model)}, "making": []})
