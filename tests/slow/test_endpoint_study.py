"""The main study on samples of a model behind an endpoint: killed, out of budget, and run on, with no request answered
twice. And the endpoint of a real vLLM server."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.sampling.endpoint import Endpoint
from components.sampling.endpoint_client import EndpointStopped
from components.sampling.endpoint_generation import AskForSolutions, EndpointConfig
from tests.sampling.endpoint_server import EndpointServer, Reply, completion, failure, serving
from tests.sampling.test_endpoint import access, config, problems
from tests.slow.conftest import ROOT, STUDY, index, kill_driver, run_study, summary, wait_for
from tests.slow.test_base_models import save_base

pytestmark = pytest.mark.slow
SAMPLES = 16 * 4  # of all problems


def solve(body: dict[str, Any], number: int) -> Reply:
    """Add the two numbers of the problem; for some seeds wrongly."""
    first, second = map(int, re.findall(r"\d+", body["messages"][-1]["content"])[:2])
    total = first + second + (body["seed"] % 3 == 0)
    thinking = f"{first} and {second}, so \\boxed{{1}}?"
    return completion(f"Add {first} and {second}.\nThe answer is \\boxed{{{total}}}.", reasoning=thinking)


def argv_of(folder: Path, server: EndpointServer) -> list[str]:
    argv = ["--generator", f"{server.url}#m", "--reward-base", str(folder / "base"), "--requests-at-once", "4"]
    argv += ["--max-tokens", "64"]
    return argv + [f"--{split}-problems={folder / split}.jsonl" for split in ("train", "test")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("endpoint")
    save_base(folder / "base")
    rows = [{"problem": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(1, 17)]
    for split, some in {"train": rows[:12], "test": rows[12:]}.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return folder


def test_a_study_that_is_killed_and_out_of_budget_asks_for_nothing_twice(folder: Path) -> None:
    root = folder / "outputs"
    held = threading.Event()  # set: the server answers those that it holds, as one that goes down

    def stalls(body: dict[str, Any], number: int) -> Reply:
        if number < 21:
            return solve(body, number)
        held.wait(60)
        return failure(503, "going down")

    with serving(stalls) as server:
        argv = [*argv_of(folder, server), "--samples-per-problem", "4"]
        process = subprocess.Popen([*STUDY, "--root", str(root), *argv], stdout=subprocess.DEVNULL, text=True)
        wait_for(lambda: len(list(root.glob("answers/s*/*.json"))) >= 20 and len(server.asked) >= 25)
        kill_driver(process)  # and its workers, before the server answers again
        held.set()
        before = len(server.asked)
        server.answer = solve
        done = subprocess.run(
            [*STUDY, "--root", str(root), *argv, "--max-requests", "20"], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 1, done.stderr
        assert "the budget of 20 requests (--max-requests) is used; what is committed is kept" in done.stderr
        assert len(server.asked) == before + 20
        run_study(root, *argv)
        assert (server.twice, len(server.asked) - before) == ([], sum(server.answered.values()) - 21)
        asked = len(server.asked)
        run_study(root, *argv)
        assert len(server.asked) == asked
    samples = pd.read_parquet(index(root)["solutions"])
    assert (len(samples), samples["error"].isna().all()) == (SAMPLES, True)
    assert set(samples["fingerprint"]) == {"fp_1"}
    assert samples["seed_sent"].all()
    assert samples["thinking"].str.contains("boxed").all()
    grades = samples.merge(pd.read_parquet(index(root)["grades"]), on=["problem_id", "sample_index"])
    assert (grades["is_correct"] == (grades["seed"] % 3 != 0)).all()
    assert {"orm", "majority", "pass"} <= summary(root)["best_of_n"].keys()
    lineage = json.loads((root / "studies/smoke/lineage.json").read_text())
    recipe = lineage["stages"]["solutions"]["recipe"]
    assert (recipe["config"]["model"], recipe["config"]["fingerprint"], recipe["models"]) == ("m", "fp_1", {})
    assert lineage["stages"]["orm"]["recipe"]["models"].keys() == {"generator"}


def test_a_server_that_became_another_is_told(folder: Path) -> None:
    def other(body: dict[str, Any], number: int) -> Reply:
        status, headers, content = solve(body | {"seed": body.get("seed", 1)}, number)
        if "seed" in body:
            return failure(400, "Unknown parameter", param="seed")
        return status, headers, content.replace(b"fp_1", b"fp_2")

    with serving(other) as server:
        argv = [*argv_of(folder, server), "--samples-per-problem", "train=4", "test=6"]
        run_study(folder / "outputs", *argv)
        assert len([body for body in server.asked if "seed" not in body]) == 8  # the two new ones of 4 test problems
    notes = " ".join(summary(folder / "outputs")["notes"])
    assert "8 of 72 samples were answered under another fingerprint than the study's (fp_2)" in notes
    assert "8 of 72 samples have no seed: the server takes none" in notes


def test_a_key_that_is_wrong_is_told_before_any_work(folder: Path, tmp_path: Path) -> None:
    with serving(lambda body, number: failure(401, "bad key")) as server:
        environment = {**os.environ, "MY_KEY": "sk-secret"}
        done = subprocess.run(
            [*STUDY, "--root", str(tmp_path), *argv_of(folder, server), "--key-variable", "MY_KEY"],
            capture_output=True, text=True, timeout=300, env=environment,
        )  # fmt: skip
        assert len(server.asked) == 1
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert line == (f"error: --generator {server.url}#m: the key is missing or wrong (bad key); it is read from MY_KEY")
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"sk-secret" not in written + (done.stdout + done.stderr).encode()


def test_a_judge_behind_an_address_stops_in_order_and_is_asked_for_each_vote_once(tmp_path: Path) -> None:
    """Votes on samples of a file: right solutions are called right in three of four votes, wrong ones in one."""
    rows = [
        {"problem": f"{i} + {i}?", "text": f"I add.\n\nIt is {2 * i + wrong}.", "is_correct": not wrong}
        for i in range(1, 5)
        for wrong in (0, 1)
    ]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    votes: Counter[str] = Counter()

    def judges(body: dict[str, Any], number: int) -> Reply:
        prompt = body["messages"][0]["content"]
        found = re.search(r"(\d+) \+.*It is (\d+)", prompt, re.DOTALL)
        if found is None:  # what is asked first, for the fingerprint
            return completion("ok")
        first, answer = map(int, found.groups())
        with server.lock:
            votes[prompt] += 1
            is_odd_one = votes[prompt] % 4 == 0
        return completion(f'{{"first_wrong_step": {"null" if (answer == 2 * first) != is_odd_one else 2}}}')

    flow = [sys.executable, str(ROOT / "flows/compare_verifiers.py"), str(tmp_path / "samples.jsonl")]
    with serving(judges) as server:
        flow += ["--study", "judged", "--verifier", f"judge=judge:{server.url}#m,votes=4", "--verifier", "short=length"]
        argv = [*flow, "--root", str(tmp_path / "outputs"), "--max-requests", "20"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
        assert done.returncode == 1, done.stderr
        assert "the budget of 20 requests (--max-requests) is used; what is committed is kept" in done.stderr
        run_study(tmp_path / "outputs", flow=flow)
        assert (server.twice, sum(votes.values())) == ([], 4 * len(rows))
        asked = len(server.asked)
        run_study(tmp_path / "outputs", flow=flow)
        assert len(server.asked) == asked
    results = summary(tmp_path / "outputs", "judged")
    assert results["best_of_n"]["judge"] == {"1": 0.5, "2": 1.0}
    [cost] = results["verifiers"]
    assert (cost["parameters"], cost["flops"], cost["tokens"]) == (None, None, 5 * 4 * len(rows))
    scores = pd.read_parquet(index(tmp_path / "outputs", "judged")["judge_scores"])
    assert sorted(scores["score"]) == [0.25] * 4 + [0.75] * 4


def a_port() -> int:
    """A free port from 20,000 on: neither Ray's, which ends before, nor one that the system gives to others, as a port
    that was free a moment ago may be."""
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Served:
    """A vLLM server of a tiny model, on this machine's CPU."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = a_port(), folder
        self.start()

    def start(self) -> None:
        server = "vllm.entrypoints.openai.api_server"
        argv = [sys.executable, "-m", server, "--model", str(self.folder), "--served-model-name", "tiny", "--port"]
        argv += [str(self.port), "--host", "127.0.0.1", "--dtype", "float32", "--max-model-len", "1024"]
        argv += [
            "--enforce-eager",
            "--block-size",
            "32",
            "--no-enable-chunked-prefill",
            "--max-num-batched-tokens",
            "8192",
        ]
        cpu = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}
        self.process = subprocess.Popen(
            argv,
            env={**os.environ, **cpu},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self.is_up)

    def is_up(self) -> bool:
        assert self.process.poll() is None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/models", timeout=5) as reply:
                return reply.status == 200
        except (OSError, http.client.HTTPException):
            return False

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    server = Served(folder / "base")
    yield server
    server.kill()


def test_a_real_server_that_is_killed_in_the_middle_loses_no_answer_and_its_samples_come_again(
    served: Served, tmp_path: Path
) -> None:
    settings = dataclasses.replace(config(max_tokens=200, repetition_penalty=1.1, top_k=50), model="tiny")

    def worker(root: Path, settings: EndpointConfig = settings, **changes: Any) -> AskForSolutions:
        reached = access("", at_once=2, timeout_seconds=120, **changes)
        reached = dataclasses.replace(reached, endpoint=Endpoint(f"http://127.0.0.1:{served.port}/v1", "tiny"))
        return AskForSolutions(settings, {}, access=dataclasses.replace(reached, root=str(root)))

    item, table = {"sample_start": 0, "sample_count": 32}, problems("What is 1 + 1")
    answers = "one/answers/s*/*.json"
    killer = threading.Thread(
        target=lambda: (wait_for(lambda: len(list(tmp_path.glob(answers))) >= 4), served.kill()), daemon=True
    )
    killer.start()
    with pytest.raises(EndpointStopped, match=r"no answer for .* it cannot be reached"):
        worker(tmp_path / "one", patience_seconds=1)(table, item)
    killer.join()
    kept = {path.name: path.read_bytes() for path in tmp_path.glob(answers)}
    assert 4 <= len(kept) < 32
    served.start()
    rows = worker(tmp_path / "one", patience_seconds=60)(table, item).to_pylist()
    assert all(row["error"] is None and row["seed_sent"] and row["num_tokens"] for row in rows)
    assert {row["fingerprint"].partition("-")[0] for row in rows} == {"vllm"}
    now = {path.name: path.read_bytes() for path in tmp_path.glob(answers)}
    assert now.items() >= kept.items()
    assert len(now) == 32
    again = worker(tmp_path / "two", patience_seconds=60)(table, item).to_pylist()
    assert [row["text"] for row in again] == [row["text"] for row in rows]  # vLLM keeps to seeds
    assert len({row["text"] for row in rows}) > 16
