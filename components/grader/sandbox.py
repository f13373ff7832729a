"""Containment: model text is read and compared in a process that may be killed, never in this one.

Model text can make any algebra system hang or take all memory. The worker process has limits of its own, and this side
watches it: a text or pair on which it is silent for too long costs the process, is tried once more in a fresh one, and
then has the status `timeout`, which is not "wrong"; less than 5 seconds later, unless the machine is overloaded. Works
in threads and in Ray actors, since it uses neither alarms nor forks.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.grader.equality import MAX_LENGTH

_SECONDS = 0.5  # of silence on one verdict, by the worker's CPU
_IN_FRESH = 3  # times as long for the first message of a process, which is not tried again
_CLOCK = 2  # times as long by the clock, on a busy machine
_SECONDS_LOADING = 60.0  # while the worker starts, or imports a library
_MEMORY = 2 << 30  # bytes of address space
_CPU_SECONDS = 5
_REMEMBERED = 1_000_000  # distinct pairs
_AHEAD = 48 << 10  # bytes of pairs that are sent before their answers are there
_IMPORTED_FROM = Path(__file__).parents[__name__.count(".")]

Pairs = Sequence[tuple[str, str]]
Answer = tuple[str | None, str]  # and the rule that found it
Take = Callable[[int, str, Any, str], bool]  # takes a message; tells whether it was the last of its number


@dataclass
class Verdict:
    """Verdict on one answer, by our grader and by the paper's. None: not known, for the reason in status."""

    is_correct: bool | None = None
    is_correct_prm800k: bool | None = None
    method: str = ""  # the rule that decided is_correct
    status: str = "ok"  # ok, too_long, risky, timeout, out_of_memory or error: …


class GradingSandbox:
    """One worker process, started when it is needed and again when it was killed. Safe for threads: one at a time."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self.seconds = seconds
        self.worker: subprocess.Popen[bytes] | None = None
        self.lock = threading.Lock()
        self.kills = 0
        self.known: dict[tuple[str, str], Verdict] = {}  # of this process, so of one version of the grader
        self.buffer, self.is_fresh = b"", True

    def verdicts(self, pairs: Pairs) -> list[Verdict]:
        """Compare each pair (answer, ground truth). Returns the verdicts in order."""
        verdicts = [_without_worker(*pair) for pair in pairs]
        done = {index: Verdict() for index, verdict in enumerate(verdicts) if verdict is None}

        def take(index: int, kind: str, value: Any, detail: str) -> bool:
            if kind == "is_correct":
                _note(done[index], value, detail)
            else:
                done[index].is_correct_prm800k = value
            return kind == "is_correct_prm800k"

        for index, status in self._work({index: [*pairs[index]] for index in done}, take).items():
            if done[index].is_correct is None:  # a verdict that is known stays
                done[index].status = status
        return [verdict if verdict is not None else done[index] for index, verdict in enumerate(verdicts)]

    def answers(self, texts: Sequence[tuple[str, str | None]]) -> list[Answer]:
        """Extract the answer of each sampled text (text, finish_reason), as `solution_answer` does.

        The rule of a text on which the worker was stopped is timeout, out_of_memory or error; it has no answer.
        """
        found: dict[int, Answer] = {}

        def take(index: int, kind: str, value: Any, detail: str) -> bool:
            found[index] = value, detail
            return True

        lost = self._work({index: ["extract", *text] for index, text in enumerate(texts)}, take)
        found |= {index: (None, status.partition(":")[0]) for index, status in lost.items()}
        return [found[index] for index in range(len(texts))]

    def known_verdicts(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Verdict]:
        """Return verdicts by pair: equal pairs are compared once, also from call to call."""
        distinct = list(dict.fromkeys(pairs))
        new = [pair for pair in distinct if pair not in self.known]
        if len(self.known) + len(new) > _REMEMBERED:
            self.known, new = {}, distinct
        self.known |= zip(new, self.verdicts(new), strict=True)
        return {pair: self.known[pair] for pair in distinct}

    def _work(self, tasks: Mapping[int, list[Any]], take: Take) -> dict[int, str]:
        """Send tasks by number to the worker, and give its messages to `take`. Returns the status of those given up."""
        waiting = dict(tasks)
        tried: set[int] = set()
        lost: dict[int, str] = {}
        with self.lock:
            try:
                while waiting:
                    culprit, status, was_first = self._run(waiting, take)
                    if culprit is not None and (culprit in tried or (was_first and status == "timeout")):
                        lost[culprit] = status
                        del waiting[culprit]
                    elif culprit is not None:
                        tried.add(culprit)
            except BaseException:
                if self.worker is not None:
                    self._end()  # its late messages would be taken for answers to the next tasks
                raise
        return lost

    def _run(self, waiting: dict[int, list[Any]], take: Take) -> tuple[int | None, str, bool]:
        """Send tasks and take messages until all are done, or until the worker falls silent or dies.

        What is done leaves `waiting`. Returns the number of the task on which the worker was lost, how, and whether it
        was the first of the process; (None, "", False) when all are done.
        """
        worker = self.worker or self._start()
        assert worker.stdin is not None
        messages = {number: json.dumps([number, *task]).encode() + b"\n" for number, task in waiting.items()}
        unsent, under_way = deque(waiting), deque[int]()
        ahead = 0  # bytes under way
        was_first = self.is_fresh
        try:
            if was_first and self._line(_SECONDS_LOADING) is None:  # that it is ready
                self._end()
                return unsent[0], "timeout", was_first
            self.is_fresh = False
            patience = allowed = self.seconds * (_IN_FRESH if was_first else 1)
            while unsent or under_way:
                # No more than fits into the pipe: a worker that is stuck does not read, and must not block this side.
                # A longer message goes alone, to a worker that waits for it.
                while unsent and (not under_way or ahead + len(messages[unsent[0]]) <= _AHEAD):
                    under_way.append(unsent.popleft())
                    ahead += worker.stdin.write(messages[under_way[-1]])
                worker.stdin.flush()
                line = self._line(patience)
                if line is None:
                    self._end()
                    return under_way[0], "timeout", was_first
                index, kind, value, detail = json.loads(line)
                if kind != "loading" and take(index, kind, value, detail):
                    del waiting[index]
                    ahead -= len(messages[under_way.popleft()])
                    was_first, allowed = False, self.seconds
                patience = _SECONDS_LOADING if kind == "loading" and detail else allowed
        except (BrokenPipeError, EOFError):
            status = self._end()
            known = {-signal.SIGXCPU: "timeout", -signal.SIGKILL: "out_of_memory"}
            error = f"error: the worker ended with status {status}"
            return (*under_way, *unsent)[0], known.get(status, error), was_first
        return None, "", False

    def _line(self, patience: float) -> bytes | None:
        """Return the worker's next line; None when it worked in silence for too long. Raises EOFError when it ended.

        Its own CPU seconds count, so that a busy machine makes few timeouts; and seconds of the clock, two to one.
        """
        assert self.worker is not None
        assert self.worker.stdout is not None
        poller = select.poll()
        poller.register(self.worker.stdout, select.POLLIN)
        worked: float | None = None
        began = time.monotonic()
        while b"\n" not in self.buffer:
            if not poller.poll(1000 * (0.05 if worked is None else patience / 5)):
                if worked is None:  # most lines have arrived by now, and the process need not be looked at
                    worked = _cpu_seconds(self.worker.pid)
                elif (
                    time.monotonic() - began >= _CLOCK * patience or _cpu_seconds(self.worker.pid) - worked >= patience
                ):
                    return None
                continue
            data = os.read(self.worker.stdout.fileno(), 1 << 16)
            if not data:
                raise EOFError
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(_IMPORTED_FROM), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", f"{__package__}.worker", str(_MEMORY), str(_CPU_SECONDS)]
        self.buffer, self.is_fresh = b"", True
        self.worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        return self.worker

    def _end(self) -> int:
        """Kill the worker. Returns its exit status."""
        worker, self.worker = self.worker, None
        assert worker is not None
        status = worker.poll()
        if status is None:
            try:
                status = worker.wait(timeout=0.1)  # its pipe is closed already when it is about to end by itself
            except subprocess.TimeoutExpired:
                worker.kill()
                status = worker.wait()
        self.kills += 1
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        return status

    def close(self) -> None:
        """End the worker, if there is one."""
        with self.lock:
            if self.worker is not None:
                self._end()


def _cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used, to a hundredth; the clock's where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _without_worker(answer: str, truth: str) -> Verdict | None:
    """Return the verdict on pairs that need no worker: equal text, and text too long to compare; else None."""
    if answer == truth and answer.strip():
        return Verdict(True, True, "text")
    if max(len(answer), len(truth)) > MAX_LENGTH:
        return Verdict(False, False, "", "too_long")
    return None


def _note(verdict: Verdict, value: bool | None, detail: str) -> None:
    verdict.is_correct = value
    if value is None or detail == "risky":
        verdict.status = detail
    else:
        verdict.method = detail
