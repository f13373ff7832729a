"""The commands of every flow, on a fake one: what a user types, and what is printed."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.dataflow.leases import Lease
from components.dataflow.runner import Runner
from components.dataflow.source_digest import FORM
from components.dataflow.stage_run import StageRun
from components.dataflow.storage import Files
from components.dataflow.store import Store
from flows.command_line import cli, commands
from flows.presets.presets import PRESETS
from flows.studies import study_folder
from flows.study import Study
from tests.faults import fake

ROOT = Path(__file__).parents[2]
Printed = pytest.CaptureFixture[str]


def flow(study: Study) -> None:
    """The fake study, composed as a flow composes its stages; --max-tokens is its number of samples."""
    run = study.runner
    run.stream, run.start_engine = fake.serial_stream, lambda: None
    source, sampled, graded, total = fake.stages(fake.Config(samples=study.preset.sampling.max_tokens))
    _, grades = run.map(run.table(source), sampled, graded)
    run.table(total, graded=grades)
    run.write_record(finished=True)


def do(capsys: Printed, root: Path | str, *argv: str, samples: int = 2) -> tuple[int, str]:
    of_study = [] if {"verify", "gc"} & {*argv} else ["--max-tokens", str(samples)]
    of_study += [] if not of_study or "--max-error-rate" in argv else ["--max-error-rate", "1"]
    status = cli.run(flow, [*argv, "--root", str(root), *of_study], "")
    printed = capsys.readouterr()
    return status, printed.out + printed.err


@pytest.fixture
def root(tmp_path: Path, capsys: Printed) -> Path:
    assert do(capsys, tmp_path / "outputs")[0] == 0
    return tmp_path / "outputs"


def test_plan_counts_what_is_there_and_names_what_differs(root: Path, capsys: Printed) -> None:
    status, printed = do(capsys, root, "plan")
    assert status == 0
    assert [line.split()[1] for line in printed.splitlines()[2:]] == ["HIT"] * 4  # behind what was set, and the head
    status, printed = do(capsys, root, "plan", samples=3)
    assert "PARTIAL 12/18" in printed
    assert "waits for samples" in printed


def test_status_tells_since_when_and_whether_the_code_drifted(
    root: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, printed = do(capsys, root, "status")
    assert status == 0
    assert "48 rows, 8 with errors" in printed
    assert "its code changed" not in printed
    monkeypatch.setattr(commands, "code_digest", lambda stage: f"{FORM} another")
    assert do(capsys, root, "status")[1].count("its code changed since, under the same version") == 4


def test_status_tells_how_far_a_stage_is_and_who_works(
    root: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = do(capsys, root, "status", samples=3)[1]
    assert re.search(r"^samples +PARTIAL +12 of 18 shards$", printed, re.MULTILINE)
    assert " works on it" not in printed
    with Lease(Files(str(root)), "samples-0123", lambda: False, print):
        lease = root / "leases/graded-4567.json"
        lease.write_text(json.dumps({"host": "spot-17", "pid": 1, "id": "x"}))
        printed = do(capsys, root, "status", samples=3)[1]
    assert f"samples-0123: process {os.getpid()} on {socket.gethostname()} works on it" in printed
    assert "graded-4567: left by process 1 on spot-17, which is gone" in printed


def test_a_model_that_several_workers_trained_says_so(tmp_path: Path) -> None:
    """Its weights can differ from those of another number of workers in their last bits."""
    store = Store(tmp_path / "store")
    runner = Runner(store)
    for name, about in {"prm": {"training_workers": 2}, "orm": {"training_workers": 1}, "generator": {}}.items():
        fake.publish_model(store, name, "a" * 64, b"weights", tmp_path / "built", **about)
        found = store.model(name, "a" * 64)
        assert found is not None
        runner.results[name] = found[0]
    [note] = study_folder.training_notes(runner)
    study: Any = SimpleNamespace(runner=runner, preset=PRESETS["smoke"], settings={})
    assert note.startswith("prm: trained on 2 workers; on another number of workers")
    stages = study_folder.lineage(study)["stages"]
    assert {name: stage["training_workers"] for name, stage in stages.items()} == {
        "prm": 2,
        "orm": 1,
        "generator": None,
    }
    lines = [commands._status(runner, StageRun(name, "HIT")) for name in runner.results]
    assert ["trained on 2 workers" in line for line in lines] == [True, False, False]


def test_explain_wants_a_stage_that_there_is(root: Path, capsys: Printed) -> None:
    assert "samples: HIT" in do(capsys, root, "explain", "samples")[1]
    status, printed = do(capsys, root, "explain", "sample")
    assert status == 2
    assert "it has numbers, samples, graded, total" in printed


def test_verify_finds_and_repairs_what_is_computed_again(root: Path, capsys: Printed) -> None:
    assert do(capsys, root, "verify", "--deep")[0] == 0
    shard = sorted((root / "shards/samples").iterdir())[0]
    data = bytearray(shard.read_bytes())
    shard.unlink()
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    status, printed = do(capsys, root, "verify", "--deep")
    assert status == 1
    assert f"bad: shards/samples/{shard.name}: its bytes are not those that were committed" in printed
    status, printed = do(capsys, root, "verify", "--deep", "--repair")
    assert status == 0
    assert (root / f"quarantine/shards/samples/{shard.name}").exists()
    status, printed = do(capsys, root)
    assert "[samples] 11 of 12 reused" in printed
    assert "computing" not in printed
    assert do(capsys, root, "verify", "--deep")[0] == 0


def test_gc_lists_and_only_deletes_when_told(root: Path, capsys: Printed) -> None:
    do(capsys, root, samples=1)
    listed = do(capsys, root, "gc")[1]
    assert "0 files" in listed  # all is younger than the grace period
    listed = do(capsys, root, "gc", "--grace-days", "0")[1]
    assert "would remove datasets/samples-" in listed
    assert "nothing was removed" in listed
    files = len(list(root.rglob("*.parquet")))
    assert "removed datasets/samples-" in do(capsys, root, "gc", "--grace-days", "0", "--delete")[1]
    assert len(list(root.rglob("*.parquet"))) < files
    assert do(capsys, root, "plan", samples=1)[1].count("HIT") == 4
    assert do(capsys, root, "verify", "--deep")[0] == 0


def test_only_computes_one_stage(tmp_path: Path, capsys: Printed) -> None:
    status, printed = do(capsys, tmp_path, "--only", "samples")
    assert status == 1
    assert "--only samples: it builds on numbers, which is not there; compute that first" in printed
    assert do(capsys, tmp_path, "--only", "numbers")[0] == 0
    assert do(capsys, tmp_path, "--only", "samples")[0] == 0
    assert not (tmp_path / "commits/graded").exists()
    assert do(capsys, tmp_path, "--only", "nothing")[0] == 2


def test_too_many_error_rows_end_the_study_in_one_line(tmp_path: Path, capsys: Printed) -> None:
    status, printed = do(capsys, tmp_path, "--max-error-rate", "0.01")
    assert status == 1
    [line] = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert "stage samples: 8 of 48 rows have errors, more than --max-error-rate 0.01 allows; the first: refused" in line


def test_a_storage_that_fails_ends_the_run_in_one_line(root: Path, capsys: Printed) -> None:
    def full(study: Study) -> None:
        raise OSError(28, "No space left on device")

    assert cli.run(full, ["--root", str(root)], "") == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_reader_who_has_seen_enough_is_no_error(root: Path) -> None:
    code = (
        "import sys; from flows.command_line import cli; from tests.flows.test_commands import flow;"
        f"sys.exit(cli.run(flow, ['explain', 'samples', '--root', {str(root)!r}, '--max-tokens', '2'], ''))"
    )
    piped = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert piped.stdout is not None
    piped.stdout.close()
    assert piped.communicate()[1] == b""
