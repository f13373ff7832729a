"""Sampling by an endpoint: what is asked, what is kept, and how it bears a server that fails."""

from __future__ import annotations

import dataclasses
import email.utils
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from components.dataflow.records import stage_of
from components.dataflow.stage import canonical_json, digest, recipe
from components.dataflow.storage import Files
from components.sampling.endpoint import Endpoint, EndpointAccess, read_endpoint
from components.sampling.endpoint_answers import read_answer
from components.sampling.endpoint_client import EndpointClient, EndpointStopped
from components.sampling.endpoint_generation import (
    AskForSolutions,
    EndpointConfig,
    ask_for_solutions,
    endpoint_config,
    first_fingerprint,
    parameters,
)
from components.sampling.kept_answers import Spending
from flows.presets.presets import PRESETS
from schemas.tables import ENDPOINT_SOLUTIONS, PROBLEMS
from tests.sampling.endpoint_server import Reply, completion, failure, serving

RUN = f"{1:020d}-00000000"


def config(**changes: Any) -> EndpointConfig:
    values = {
        "prompt": "{problem} Think.",
        "segmentation": "newline",
        "max_tokens": 40,
        "top_p": 0.9,
        "seed": 3,
    } | changes
    return endpoint_config(dataclasses.replace(PRESETS["laptop"].sampling, **values), "m", "fp_1")


def access(url: str, **changes: Any) -> EndpointAccess:
    values = {"at_once": 4, "backoff_seconds": 0.01, "patience_seconds": 5, "timeout_seconds": 5, "run": RUN} | changes
    return EndpointAccess(Endpoint(url, "m"), **values)


def problems(*names: str, error: str | None = None) -> pa.Table:
    row = {"split": "train", "ground_truth_answer": "4", "source": "file", "source_row": 0, "error": error}
    return pa.Table.from_pylist([row | {"problem_id": name, "problem": f"{name}?"} for name in names], schema=PROBLEMS)


def asked(url: str, root: Path, samples: int = 3, names: str = "ab", **changes: Any) -> list[dict[str, Any]]:
    settings = changes.pop("config", config())
    worker = AskForSolutions(settings, {}, access=access(url, root=str(root), **changes))
    table = worker(problems(*names), {"sample_start": 0, "sample_count": samples})
    assert table.schema.equals(ENDPOINT_SOLUTIONS)
    return list(table.to_pylist())


def by_seed(body: dict[str, Any], number: int) -> Reply:
    return completion(f"Step one.\nIt is {body.get('seed')}.")


def test_n_samples_are_n_requests_with_the_settings_and_a_seed_each(tmp_path: Path) -> None:
    with serving(by_seed) as server:
        rows = asked(server.url, tmp_path, config=config(top_k=7, stop_texts=("END",), system_prompt="Be brief."))
    assert [(row["problem_id"], row["sample_index"]) for row in rows] == [(p, i) for p in "ab" for i in range(3)]
    assert len({row["seed"] for row in rows}) == 6
    assert all(row["steps"] == ["Step one.", f"It is {row['seed']}."] for row in rows)
    assert {(row["finish_reason"], row["num_tokens"], row["fingerprint"], row["seed_sent"]) for row in rows} == {
        ("stop", 5, "fp_1", True)
    }
    bodies = {body.pop("seed"): body for body in server.asked}
    assert bodies.keys() == {row["seed"] for row in rows}
    first = bodies[rows[0]["seed"]]
    assert first["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a? Think."},
    ]
    del first["messages"]
    assert first == {"model": "m", "temperature": 1.0, "top_p": 0.9, "max_tokens": 40, "top_k": 7, "stop": ["END"]}


def test_a_second_run_asks_nothing_again_and_more_samples_ask_for_what_is_new(tmp_path: Path) -> None:
    with serving(by_seed) as server:
        first = asked(server.url, tmp_path)
        assert asked(server.url, tmp_path) == first
        assert len(server.asked) == 6
        more = asked(server.url, tmp_path, samples=5)
        assert (len(server.asked), server.twice) == (10, [])
        assert [row for row in more if row["sample_index"] < 3] == first
    paths = [file.path for file in Files(tmp_path).find("answers")]
    assert {stage_of(path) for path in paths} == {"solutions", ""}
    assert len(paths) == 11


def test_the_key_has_model_parameters_prompt_and_fingerprint_and_no_address() -> None:
    stage = ask_for_solutions(config(), access("http://one:1/v1", root="/root"))
    other = ask_for_solutions(config(), access("http://two:2/v1", at_once=99, max_requests=5, root="/elsewhere"))
    assert recipe(stage) == recipe(other)
    text = canonical_json(recipe(stage))
    for part in ('"model":"m"', '"fingerprint":"fp_1"', '"temperature":1.0', "{problem} Think."):
        assert part in text
    assert "http" not in text
    for changed in (config(temperature=0.5), config(prompt="{problem}"), config(max_thinking_tokens=9)):
        assert digest(recipe(ask_for_solutions(changed, access("http://one:1/v1")))) != digest(recipe(stage))
    assert config(max_thinking_tokens=9).max_tokens == 49


def test_a_key_is_sent_and_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with serving(by_seed) as server:
        asked(server.url, tmp_path, key_variable="MY_KEY")
        assert server.keys == {"Bearer sk-secret"}
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"sk-secret" not in file.read_bytes()


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_key_that_a_server_repeats_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    said = failure(status, "Incorrect API key provided: sk-secret.")
    with serving(lambda body, number: said) as server:
        try:
            told = str([row["error"] for row in asked(server.url, tmp_path, key_variable="MY_KEY", patience_seconds=0)])
        except EndpointStopped as error:
            told = str(error)
    assert "Incorrect API key provided: …" in told
    assert "sk-secret" not in told


def test_a_key_that_is_no_secret_garbles_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As people give it to a server that asks for none; what a server wants is read from its message."""
    monkeypatch.setenv("MY_KEY", "x")
    said = failure(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    with serving(lambda body, number: said if "max_tokens" in body else by_seed(body, number)) as server:
        assert {row["error"] for row in asked(server.url, tmp_path, key_variable="MY_KEY")} == {None}


@pytest.mark.parametrize("key", ["sk-secret-1\nsk-secret-2", "sk secret", "sk-sécret"])
def test_a_key_that_is_none_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with serving(by_seed) as server:
        with pytest.raises(EndpointStopped, match="MY_KEY holds blanks, line ends") as refused:
            asked(server.url, tmp_path, key_variable="MY_KEY")
        assert server.asked == []
    assert "secret" not in str(refused.value)


def flaky(bad: Callable[[int], Reply]) -> Callable[[dict[str, Any], int], Reply]:
    """Every second request fails."""
    return lambda body, number: by_seed(body, number) if number % 2 else bad(number)


@pytest.mark.parametrize(
    "bad",
    [
        lambda number: failure(500, "overloaded"),
        lambda number: failure(503, "later", {"Retry-After": "0.02"}),
        lambda number: failure(429, "slow down", {"Retry-After": email.utils.formatdate(time.time(), usegmt=True)}),
        lambda number: failure(429, "slow down", {"Retry-After": "nan"}),
        lambda number: failure(429, "slow down", {"retry-after-ms": "20", "Retry-After": "not a date"}),
        lambda number: (200, {}, b'{"choices": [{"message": {"content": "half an ans'),
        lambda number: (200, {}, b"<html>gateway</html>"),
        lambda number: (200, {}, b'{"choices": []}'),
        lambda number: (200, {}, b'{"choices": [{"message": {"content": 7}}]}'),
    ],
)  # fmt: skip
def test_a_server_that_fails_now_and_then_is_asked_again(tmp_path: Path, bad: Callable[[int], Reply]) -> None:
    with serving(flaky(bad)) as server:
        rows = asked(server.url, tmp_path, at_once=1)
        assert all(row["error"] is None and row["text"] for row in rows)
        assert (len(server.asked), server.twice) == (12, [])


def test_a_server_that_asks_to_wait_is_not_asked_before(tmp_path: Path) -> None:
    times: list[float] = []

    def answer(body: dict[str, Any], number: int) -> Reply:
        times.append(time.monotonic())
        return failure(429, "slow down", {"Retry-After": "1.2"}) if number == 0 else by_seed(body, number)

    with serving(answer) as server:
        asked(server.url, tmp_path, at_once=1)
    assert times[1] - times[0] >= 1.2


def test_requests_that_fail_together_are_one_failure(tmp_path: Path) -> None:
    """Sixteen at once that are turned away make a pause of one backoff, and not of the sixteenth."""
    with serving(lambda body, number: failure(429) if number < 16 else by_seed(body, number)) as server:
        server.seconds = 0.2
        began = time.monotonic()
        rows = asked(server.url, tmp_path, samples=8, at_once=16, backoff_seconds=0.5, patience_seconds=60)
        assert time.monotonic() - began < 10
    assert all(row["error"] is None for row in rows)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            failure(401, "bad key"),
            r"#m: the key is missing or wrong \(bad key\); it is read from OPENAI_API_KEY, which is",
        ),
        (failure(404, "no model m"), r"#m: there is no such model \(no model m\)$"),
        (failure(500, "broken"), r"#m: no answer for \d s: broken"),
        (failure(429, "later", {"Retry-After": "3600"}), r"#m: it asks to wait for 3600 s: later"),
    ],
)
def test_a_server_that_does_not_answer_stops_the_study_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: Reply, words: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(lambda body, number: by_seed(body, number) if number < 3 else bad) as server:
        with pytest.raises(EndpointStopped, match=words):
            asked(server.url, tmp_path, patience_seconds=0.3)
        server.answer = by_seed
        rows = asked(server.url, tmp_path)
        assert all(row["error"] is None for row in rows)
        assert (sum(server.answered.values()), server.twice) == (6, [])


def test_an_address_without_a_server_stops_the_study(tmp_path: Path) -> None:
    with pytest.raises(EndpointStopped, match="it cannot be reached"):
        asked("http://127.0.0.1:9/v1", tmp_path, patience_seconds=0.2)


def test_a_slow_server_is_given_up_after_the_timeout(tmp_path: Path) -> None:
    with serving(by_seed) as server:
        server.seconds = 0.5
        with pytest.raises(EndpointStopped, match=r"no answer within 0\.1 s"):
            asked(server.url, tmp_path, timeout_seconds=0.1, patience_seconds=0.3)


def test_the_budget_of_requests_counts_retries_and_is_of_the_whole_run(tmp_path: Path) -> None:
    with serving(flaky(lambda number: failure(500))) as server:
        with pytest.raises(EndpointStopped, match=r"the budget of 4 requests \(--max-requests\) is used"):
            asked(server.url, tmp_path, at_once=1, max_requests=4)
        assert len(server.asked) == 4
        with pytest.raises(EndpointStopped, match="the budget of 4 requests"):
            asked(server.url, tmp_path, at_once=1, max_requests=4)  # of the same run
        assert len(server.asked) == 4
        again = f"{2:020d}-00000000"
        rows = asked(server.url, tmp_path, at_once=1, max_requests=100, run=again)
        assert all(row["error"] is None for row in rows)
        assert (sum(server.answered.values()), server.twice) == (6, [])


def test_the_budget_of_tokens_is_as_the_server_counts_them(tmp_path: Path) -> None:
    with serving(by_seed) as server:
        with pytest.raises(EndpointStopped, match=r"the budget of 40 tokens \(--max-tokens-total\) is used"):
            asked(server.url, tmp_path, at_once=1, max_tokens=40)
        assert len(server.asked) == 3  # of 15 tokens each


def test_requests_under_way_together_stay_within_the_budget_of_tokens(tmp_path: Path) -> None:
    """Each may take 40 tokens and takes 15: beside each other as many as surely fit, and over it by one at most."""
    with serving(by_seed) as server:
        server.seconds = 0.05
        with pytest.raises(EndpointStopped, match="the budget of 100 tokens"):
            asked(server.url, tmp_path, samples=8, at_once=16, max_tokens=100)
        assert 100 <= 15 * sum(server.answered.values()) <= 115


def test_tokens_are_summed_where_a_server_gives_no_total_and_a_budget_needs_them(tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Reply:
        status, headers, text = by_seed(body, number)
        reply = json.loads(text)
        reply["usage"].pop("total_tokens")
        return status, headers, json.dumps(reply if number < 4 else reply | {"usage": None}).encode()

    with serving(answer) as server:
        with pytest.raises(EndpointStopped, match="does not say how many tokens"):
            asked(server.url, tmp_path, at_once=1, max_tokens=1000)
        assert Spending(Files(str(tmp_path)), access(server.url).run).tokens == 60


@pytest.mark.parametrize("wait", ["0", "-3", "Mon, 01 Jan 2024 00:00:00 GMT"])
def test_a_server_that_says_at_once_is_still_given_time(tmp_path: Path, wait: str) -> None:
    with serving(lambda body, number: failure(429, "slow down", {"Retry-After": wait})) as server:
        with pytest.raises(EndpointStopped, match="slow down"):
            asked(server.url, tmp_path, at_once=4, backoff_seconds=0.2, patience_seconds=1)
        assert len(server.asked) < 30


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (completion("It is", finish_reason="length"), {"text": "It is", "finish_reason": "length", "error": None}),
        (completion(""), {"text": "", "steps": [], "finish_reason": "stop", "error": None}),
        (completion(None), {"text": "", "steps": [], "error": None}),
        (completion(None, refusal="I cannot."), {"text": "", "finish_reason": "content_filter", "error": None}),
        (failure(400, "filtered", code="content_filter"), {"finish_reason": "content_filter", "error": None}),
        (failure(400, "too long"), {"text": "", "error": "the server refused it: too long"}),
        (completion("12", reasoning_content="7?", thinking_tokens=3),
         {"text": "12", "thinking": "7?", "num_thinking_tokens": 3}),
        (completion("12", reasoning="7?"), {"text": "12", "thinking": "7?"}),
        (completion("<think>7?</think>\n12"), {"text": "12", "thinking": "7?", "steps": ["12"]}),
        (completion("<think>7?", finish_reason="length"), {"text": "", "thinking": "7?", "finish_reason": "length"}),
        (completion("a\nb", fingerprint=None), {"fingerprint": "", "steps": ["a", "b"]}),
    ],
)  # fmt: skip
def test_every_answer_keeps_its_slot(tmp_path: Path, reply: Reply, expected: dict[str, Any]) -> None:
    with serving(lambda body, number: reply) as server:
        rows = asked(server.url, tmp_path)
    assert len(rows) == 6
    for row in rows:
        assert expected.items() <= row.items()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ((200, {}, b'{"choices": 1}'), "its answer cannot be read: no chat completion"),
        ((200, {}, b'{"choices": [{"mess'), "its answer cannot be read"),
        (failure(500, "this prompt"), "this prompt"),
        (completion("half", finish_reason="error"), "its answer cannot be read: it broke off (error)"),
    ],
)
def test_a_request_that_alone_fails_is_a_rows_error_and_stops_nothing(tmp_path: Path, bad: Reply, words: str) -> None:
    def answer(body: dict[str, Any], number: int) -> Reply:
        return bad if body["messages"][0]["content"][0] == "a" else by_seed(body, number)

    with serving(answer) as server:
        rows = asked(server.url, tmp_path, samples=1, at_once=1, patience_seconds=600, backoff_seconds=1e-6)
        assert len(server.asked) == 20 + 1 + 1 + 1 + 1  # the row, a short question, the row, the question, the other
    assert rows[0]["error"].startswith(f"the server failed on it 21 times, and answered others: {words}")
    assert rows[1]["error"] is None


def test_a_server_that_fails_for_a_while_costs_no_row(tmp_path: Path) -> None:
    """A gateway's page in place of answers, to all that is under way, for longer than one request is tried."""
    with serving(lambda body, number: (200, {}, b"<html>") if number < 250 else by_seed(body, number)) as server:
        rows = asked(server.url, tmp_path, samples=4, at_once=8, patience_seconds=600, backoff_seconds=1e-4)
    assert all(row["error"] is None for row in rows)


def test_a_request_that_always_takes_too_long_does_not_stop_every_run(tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Reply:
        time.sleep(0.5 if body["messages"][0]["content"][0] == "a" else 0)
        return by_seed(body, number)

    with serving(answer) as server:
        rows = asked(server.url, tmp_path, samples=1, at_once=1, timeout_seconds=0.2, patience_seconds=0.5)
    assert "no answer within 0.2 s" in rows[0]["error"]
    assert rows[1]["error"] is None


def test_a_request_that_fails_within_a_budget_of_tokens_waits_for_nobody(tmp_path: Path) -> None:
    """It holds its own part of the budget while the server is asked whether it answers at all."""

    def answer(body: dict[str, Any], number: int) -> Reply:
        return failure(500) if body["messages"][0]["content"][0] == "a" else by_seed(body, number)

    with serving(answer) as server:
        about = {"at_once": 2, "max_tokens": 90, "patience_seconds": 600, "backoff_seconds": 1e-6}
        rows = asked(server.url, tmp_path, samples=1, **about)
    assert "the server failed on it" in rows[0]["error"]
    assert rows[1]["error"] is None


def test_a_server_that_is_back_and_busy_costs_no_row(tmp_path: Path) -> None:
    """After an outage the first answers are 429: a pace that is too fast is no fault of a request."""
    bad = [failure(500)] * 20

    def answer(body: dict[str, Any], number: int) -> Reply:
        if body["messages"][0]["content"].startswith("What is"):
            return completion("2")
        return bad.pop() if bad else busy.pop() if busy else by_seed(body, number)

    busy = [failure(429, "slow down")] * 3
    with serving(answer) as server:
        rows = asked(server.url, tmp_path, samples=1, names="b", at_once=1, patience_seconds=600, backoff_seconds=1e-6)
    assert [row["error"] for row in rows] == [None]


def test_a_tally_that_cannot_be_written_leaves_no_reservation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = EndpointClient(access("http://127.0.0.1:9/v1", max_tokens=100), Spending(Files(str(tmp_path)), "r"))
    reserved = client._spend(90, [{"role": "user", "content": "a?"}])
    assert client.reserved == reserved == 92  # a prompt has no more tokens than bytes
    monkeypatch.setattr(client.tally, "add", lambda **_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        client._release(reserved, 15)
    assert client.reserved == 0


def test_a_long_answer_has_more_time(tmp_path: Path) -> None:
    client = EndpointClient(access("http://127.0.0.1:9/v1", timeout_seconds=600), Spending(Files(str(tmp_path)), "r"))
    sent: dict[str, Any] = {}
    client.client = SimpleNamespace(post=lambda path, **given: sent.update(given["options"]))  # type: ignore[assignment]
    for tokens, seconds in {100: 600, 4096: 600, 32_768: 600 + 28_672 / 10}.items():
        client._post({}, tokens)
        assert sent["timeout"] == seconds


@pytest.mark.parametrize(("said", "kept"), [
    ("model_length", "length"), ("max_tokens", "length"), ("eos", "stop"), ("STOP", "stop"), ("tool_calls", "stop"),
    ("SAFETY", "content_filter"), ("odd", "odd"), (None, "stop"),
])  # fmt: skip
def test_why_an_answer_ended_is_not_made_up(tmp_path: Path, said: str | None, kept: str | None) -> None:
    with serving(lambda body, number: completion("It is 4", finish_reason=said)) as server:
        assert {row["finish_reason"] for row in asked(server.url, tmp_path)} == {kept}


@pytest.mark.parametrize(("tokens", "kept"), [(39, "stop"), (40, "length"), (0, None)])
def test_an_answer_without_a_reason_is_whole_where_it_had_room(tokens: int, kept: str | None) -> None:
    usage = {"completion_tokens": tokens, "total_tokens": 9 + tokens}
    reply = {"choices": [{"message": {"content": "It is 4"}, "finish_reason": None}], "usage": usage}
    assert read_answer(reply, seed_sent=True, most=40).finish_reason == kept


@pytest.mark.parametrize("bad", [failure(500), failure(402, "fewer max_tokens: you can only afford 310")])
def test_a_server_that_answers_short_questions_alone_costs_at_most_one_row(tmp_path: Path, bad: Reply) -> None:
    """No request of a row succeeds: that it is the row's fault cannot be known, and the others are kept for later."""

    def answer(body: dict[str, Any], number: int) -> Reply:
        return completion("2") if body["messages"][0]["content"].startswith("What is") else bad

    given_up = []
    with serving(answer) as server:
        asking = access(server.url, patience_seconds=0.2, backoff_seconds=1e-3)
        client = EndpointClient(asking, Spending(Files(str(tmp_path)), "r"))

        def ask_thrice() -> None:
            for _ in range(3):
                given_up.append(client.ask([{"role": "user", "content": "a?"}], parameters(config()), seed=1))

        with pytest.raises(EndpointStopped, match=r"no answer for|wants to be paid"):
            ask_thrice()
    assert len(given_up) == (1 if bad[0] == 500 else 0)


def test_a_budget_of_tokens_keeps_to_the_servers_pace(tmp_path: Path) -> None:
    """Requests that wait for room in the budget wait for the server's pause too."""
    first: list[float] = []
    times: list[float] = []

    def answer(body: dict[str, Any], number: int) -> Reply:
        if not first:
            first.append(time.monotonic())
            return failure(429, "slow down", {"Retry-After": "1"})
        times.append(time.monotonic())
        return by_seed(body, number)

    with serving(answer) as server:
        asked(server.url, tmp_path, samples=2, at_once=4, max_tokens=80)  # room for one at a time
    assert min(times) - first[0] >= 1


def test_cut_thinking_without_a_marker_is_no_text_where_thinking_is_expected(tmp_path: Path) -> None:
    """The template opens the thinking, so a server that does not part it gives no marker before it closes."""
    thinking = config(max_thinking_tokens=9)
    with serving(lambda body, number: completion("Is it \\boxed{7}?", finish_reason="length")) as server:
        [row, *_] = asked(server.url, tmp_path / "a", config=thinking)
        assert (row["text"], row["thinking"], row["steps"]) == ("", "Is it \\boxed{7}?", [])
        [row, *_] = asked(server.url, tmp_path / "b")
        assert (row["text"], row["thinking"]) == ("Is it \\boxed{7}?", "")
        server.answer = lambda body, number: completion("It is 4.")
        [row, *_] = asked(server.url, tmp_path / "c", config=thinking)
        assert (row["text"], row["thinking"]) == ("It is 4.", "")


def test_what_a_server_does_not_know_is_left_out_or_renamed_and_recorded(tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Reply:
        if "max_tokens" in body:
            return failure(400, "Unsupported parameter: 'max_tokens'; use 'max_completion_tokens' instead.")
        if "seed" in body:
            return failure(400, "Unknown parameter", param="seed")
        return completion("It is 4.")

    with serving(answer) as server:
        rows = asked(server.url, tmp_path, at_once=1)
        assert {row["seed_sent"] for row in rows} == {False}
        assert server.asked[-1]["max_completion_tokens"] == 40
        assert len(server.asked) == 8


def test_a_problem_with_an_error_is_not_asked_about(tmp_path: Path) -> None:
    with serving(by_seed) as server:
        worker = AskForSolutions(config(), {}, access=access(server.url, root=str(tmp_path)))
        rows = worker(problems("a", error="bad"), {"sample_start": 0, "sample_count": 2}).to_pylist()
        assert ([row["error"] for row in rows], server.asked) == (["bad", "bad"], [])


def test_the_fingerprint_is_asked_by_one_short_request(tmp_path: Path) -> None:
    with serving(by_seed) as server:
        assert first_fingerprint(access(server.url, root=str(tmp_path)), parameters(config())) == "fp_1"
        [body] = server.asked
        assert body["max_tokens"] == 16
        server.answer = lambda body, number: failure(400, "temperature must be 1")
        with pytest.raises(ValueError, match="#m: the server refused it: temperature must be 1"):
            first_fingerprint(access(server.url, root=str(tmp_path)), parameters(config()))


def test_addresses_are_read_or_refused() -> None:
    assert read_endpoint("https://h/v1#a/b") == Endpoint("https://h/v1", "a/b")
    for text, words in {
        "https://h/v1": "it has no model",
        "https://u:secret@h/v1#m": "an address with a password",
        "https://h/v1?key=1#m": "an address with a query",
        "https:///v1#m": "it has no host",
        "http://u:secret@/v1#m": "it has no host",
        "https://h/v1?key=secret#m": "an address with a query",
        "http://h:abc/v1#m": "its port is no number",
    }.items():
        with pytest.raises(ValueError, match=words) as refused:
            read_endpoint(text)
        assert "secret" not in str(refused.value)


def test_the_table_of_what_was_asked(tmp_path: Path) -> None:
    """A server that fails in every way at once: each request is answered once, whatever was tried."""
    bad = [failure(500), failure(429, "x", {"Retry-After": "0.01"}), failure(503)]

    def answer(body: dict[str, Any], number: int) -> Reply:
        return bad[number % 4] if number % 4 < 3 else by_seed(body, number)

    with serving(answer) as server:
        rows = asked(server.url, tmp_path, samples=8, names="abcd", at_once=8, patience_seconds=600)
        assert (sum(server.answered.values()), server.twice) == (32, [])
        assert len(server.asked) >= 4 * 32 - 3
    assert all(row["error"] is None for row in rows)


@pytest.mark.parametrize("status", [400, 429])
def test_a_server_that_refuses_the_short_question_is_there_all_the_same(tmp_path: Path, status: int) -> None:
    """As a reasoning model's, which has no answer of sixteen tokens: else one bad row would stop every run."""

    def answer(body: dict[str, Any], number: int) -> Reply:
        text = body["messages"][0]["content"]
        return failure(status) if text.startswith("What") else failure(500) if text[0] == "a" else by_seed(body, number)

    with serving(answer) as server:
        rows = asked(server.url, tmp_path, samples=1, at_once=1, patience_seconds=600, backoff_seconds=1e-6)
    assert "the server failed on it" in rows[0]["error"]
    assert rows[1]["error"] is None
