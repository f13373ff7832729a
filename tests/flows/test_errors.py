"""However a flow ends, it says so in one line and by its exit status: full disks, signals, closed pipes, terminals that
are not UTF-8, texts that would act on a terminal. In processes of their own, as users run them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.dataflow import store_marker
from components.dataflow.storage import Files
from flows import evaluate, export, full_study, small_scale, step_errors
from flows.command_line import cli, option_groups
from tests.flows.test_evaluate import rows, write
from tests.flows.test_export import root  # noqa: F401

ROOT = Path(__file__).parents[2]
Printed = pytest.CaptureFixture[str]
# flow → (a call of it, what it calls first of all, by which a test makes it fail)
FLOWS: dict[str, tuple[Callable[[], int], Any, str]] = {
    "full_study": (lambda: cli.run(full_study.full_study, [], ""), cli, "open_study"),
    "small_scale": (lambda: cli.run(small_scale.small_scale, [], "", option_groups.add_small_scale), cli, "open_study"),
    "evaluate": (lambda: evaluate.main(["x.jsonl"]), evaluate, "describe_scored"),
    "export": (lambda: export.main(["--study", "x", "--format", "prm800k", "--out", "x.jsonl"]), export, "open_study"),
    "step_errors": (lambda: step_errors.main(["x.jsonl", "--prm", "x"]), step_errors, "describe_rated"),
}


def flow(name: str, *argv: object, out: Any = subprocess.PIPE, **more: Any) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of a flow in a process of its own."""
    command = [sys.executable, f"flows/{name}.py", *map(str, argv)]
    done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, cwd=ROOT, timeout=120, **more)
    return done.returncode, (done.stdout or b"").decode("utf-8", "replace"), done.stderr.decode()


@pytest.fixture
def scored(tmp_path: Path) -> list[object]:
    """A command line of evaluate."""
    return [write(tmp_path / "mine.jsonl", rows()), "--root", tmp_path / "out"]


def full() -> Any:
    return Path("/dev/full").open("wb")


def closed() -> Any:
    """The writing end of a pipe that nobody reads, as after `| head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb")


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize(
    ("what", "status", "words"),
    [
        (signal.SIGINT, 130, "stopped by Ctrl-C"),
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (OSError(errno.ENOSPC, "No space left on device", "x\x1b[2J"), 1, "No space left on device"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), 2, "the name is too long for a file"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, "Broken pipe"),  # to a process of ours: no reader's
    ],
    ids=["SIGINT", "SIGTERM", "full disk", "long name", "pipe"],
)
def test_every_flow_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Printed, name: str, what: Any, status: int, words: str
) -> None:
    def fails(*given: object, **more: object) -> None:
        if isinstance(what, OSError):
            raise what
        signal.raise_signal(what)

    call, module, first = FLOWS[name]
    before_interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    monkeypatch.chdir(tmp_path)
    store_marker.begin(Files(tmp_path / "outputs"))
    monkeypatch.setattr(module, first, fails)
    monkeypatch.setattr("flows.command_line.errors._terminated", __import__("threading").Event())
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert call() == status
    finally:
        signal.signal(signal.SIGINT, before_interrupt)
    [line] = capsys.readouterr().err.splitlines()
    assert words in line
    assert "\x1b" not in line
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_of_a_worker_is_told_without_its_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Printed
) -> None:
    from ray.exceptions import RayTaskError

    def fails(*given: object) -> None:
        traceback = "Traceback (most recent call last):\n  File x\nOSError: No space left on device"
        raise RayTaskError("work", traceback, OSError(errno.ENOSPC, "No space left on device")).as_instanceof_cause()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "describe_scored", fails)
    assert evaluate.main(["x.jsonl"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == ("error: [Errno 28] No space left on device; what is committed is kept, so run it again to go on")


def test_a_real_signal_in_the_middle_of_work(scored: list[object], tmp_path: Path) -> None:
    pause = (
        "import sys, time; from flows import evaluate;"
        "evaluate.results.compute = lambda *a: (print('here', flush=True), time.sleep(60));"
        "sys.exit(evaluate.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", pause, *map(str, scored)]
    run = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may have had it ignored
    )
    assert run.stdout is not None
    while b"here" not in run.stdout.readline():
        assert run.poll() is None
    began = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does, to the process and its children
    _, told = run.communicate(timeout=30)
    assert run.returncode == 130
    assert told.decode().splitlines() == ["stopped by Ctrl-C; what is committed is kept, so run it again to go on"]
    assert time.monotonic() - began < 10
    assert [path for path in (tmp_path / "out/leases").glob("**/*") if path.is_file()] == []


def test_a_disk_that_is_full(scored: list[object], root: Path, tmp_path: Path) -> None:  # noqa: F811
    def limited() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    status, _, told = flow("evaluate", *scored, preexec_fn=limited)
    assert status == 1
    [line] = told.splitlines()
    assert line.startswith("error: [Errno 27] File too large")
    assert line.endswith("; what is committed is kept, so run it again to go on")

    argv = ["--root", root, "--study", "mine", "--format", "trl_unpaired", "--out", tmp_path / "x.parquet"]
    status, _, told = flow("export", *argv, preexec_fn=limited)
    assert status == 1
    [line] = told.splitlines()
    assert "File too large; nothing is left of it" in line
    assert list(tmp_path.glob("*x.parquet*")) == []


def test_output_that_nobody_reads_or_that_cannot_be_written(scored: list[object]) -> None:
    assert flow("evaluate", *scored, out=closed()) == (1, "", "")
    assert flow("evaluate", "--help", out=closed())[2] == ""
    status, _, told = flow("evaluate", *scored, out=full())
    assert status == 1
    [line] = told.splitlines()
    assert "No space left on device" in line


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_is_not_utf8(scored: list[object], encoding: str) -> None:
    status, printed, told = flow("evaluate", *scored, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (status, told) == (0, "")
    assert "\\u2026" in printed
    assert "2 slots of 1 problems are not in the file" in printed
    status, printed, _ = flow("export", "--help", env=os.environ | {"PYTHONIOENCODING": encoding})
    assert status == 0
    assert "selection_active\\u2026" in printed


def test_names_that_are_too_long(scored: list[object], tmp_path: Path) -> None:
    status, _, told = flow("evaluate", "x" * 300 + ".jsonl", "--root", tmp_path / "out")
    assert status == 2
    [line] = told.splitlines()
    assert "the name is too long" in line
    status, _, told = flow("evaluate", *scored, "--study", "x" * 300)
    assert status == 2
    [line] = told.splitlines()
    assert "has 300 bytes, more than 200" in line


@pytest.mark.parametrize("name", ["evaluate", "export", "step_errors"])
def test_a_wrong_option_is_one_line(capsys: Printed, name: str) -> None:
    module: Any = {"evaluate": evaluate, "export": export, "step_errors": step_errors}[name]
    with pytest.raises(SystemExit) as ended:
        module.main(["--no-such\x1b[2J\noption"])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "\x1b" not in line
