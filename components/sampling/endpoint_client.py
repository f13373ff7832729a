"""The client of an endpoint: it asks until there is an answer, keeps to the server's pace and to a budget, and stops in
order.

Retries are ours and not the openai client's, which gives up after seconds: a study is long, and so are rate limits.
"""

from __future__ import annotations

import email.utils
import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from components.sampling.endpoint import EndpointAccess
from components.sampling.kept_answers import Spending

_LONGEST_BACKOFF = 60.0  # seconds
_UNREADABLE = 3  # answers to one request that cannot be read, before its row is given up
_REFUSED = (400, 413, 422)  # the request itself: another would fare no better
_NOT_LET_IN = {401: "the key is missing or wrong", 403: "the key is not enough for it", 404: "there is no such model"}


class EndpointStopped(OSError):
    """No more is asked: the budget is used, or the server does not answer. What was answered is kept."""


@dataclass(frozen=True)
class Answer:
    """What a server answered to one request, or why it refused it (error)."""

    text: str = ""
    thinking: str = ""
    finish_reason: str | None = None  # stop, length, or content_filter: it would not answer
    num_tokens: int = 0
    num_thinking_tokens: int = 0
    fingerprint: str = ""
    seed_sent: bool = True
    error: str | None = None


class EndpointClient:
    """Asks one endpoint, from any number of threads. tally: what this run has spent."""

    def __init__(self, access: EndpointAccess, tally: Spending) -> None:
        from openai import OpenAI

        self.access, self.tally = access, tally
        key = os.environ.get(access.key_variable, "").strip()
        self.has_key = bool(key)
        url, seconds = access.endpoint.url, access.timeout_seconds
        self.client = OpenAI(base_url=url, api_key=key or "none", max_retries=0, timeout=seconds)
        self.lock = threading.Lock()
        self.not_before = 0.0  # when the server wants to be asked again
        # In a row, and since when. Requests that were under way together when one failed are one failure.
        self.failures, self.failing_since, self.paused_at = 0, 0.0, 0.0
        self.stopped: EndpointStopped | None = None
        self.without_seed = False
        self.tokens_name = "max_tokens"

    def ask(self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], seed: int) -> Answer:
        """Ask once for one answer, and again as long as that can help. Raises EndpointStopped."""
        unreadable = 0
        while True:
            self._wait()
            self._spend()
            body, seed_sent = self._body(messages, parameters, seed)
            began = time.monotonic()
            try:
                reply = self._post(body)
            except _Failed as failure:
                if failure.status in _REFUSED and self._adapts(failure, body):
                    continue
                if failure.status in _REFUSED:
                    return self._refused(failure)
                if failure.status in _NOT_LET_IN:
                    self._stop(f"{_NOT_LET_IN[failure.status]} ({failure}){self._about_the_key(failure.status)}")
                self._pause(failure, began)
                continue
            try:
                answer = read_answer(reply, seed_sent)
            except ValueError as error:
                unreadable += 1
                if unreadable == _UNREADABLE:
                    return Answer(error=f"the server's answer cannot be read: {error}")
                self._pause(_Failed(f"its answer cannot be read: {error}"), began)
                continue
            with self.lock:
                self.failures = 0
            self.tally.add(tokens=_total_tokens(reply))
            return answer

    def _post(self, body: Mapping[str, Any]) -> object:
        """Send one request. Raises _Failed."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        try:
            return self.client.post("/chat/completions", cast_to=object, body=dict(body))
        except APIStatusError as error:
            failure = _Failed(
                _message(error.body) or str(error.message), error.status_code, _retry_after(error.response.headers)
            )
            failure.code, failure.param = str(error.code or ""), str(error.param or "")
            raise failure from error
        except APITimeoutError as error:
            raise _Failed(f"no answer within {self.access.timeout_seconds:g} s") from error
        except APIConnectionError as error:
            raise _Failed(f"it cannot be reached: {error.__cause__ or error}") from error
        except (OpenAIError, ValueError) as error:  # JSON that is none
            raise _Failed(f"its answer cannot be read: {error}") from error

    def _body(
        self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], seed: int
    ) -> tuple[dict[str, Any], bool]:
        with self.lock:
            seed_sent, tokens_name = not self.without_seed, self.tokens_name
        body = {"model": self.access.endpoint.model, "messages": list(messages), **parameters}
        body[tokens_name] = body.pop("max_tokens")
        return body | ({"seed": seed} if seed_sent else {}), seed_sent

    def _adapts(self, failure: _Failed, body: Mapping[str, Any]) -> bool:
        """Leave out or rename what a server does not know. Return whether there is another way to ask."""
        with self.lock:
            if "max_completion_tokens" in str(failure) and "max_tokens" in body:
                self.tokens_name = "max_completion_tokens"
                return True
            if "seed" in body and (failure.param == "seed" or "'seed'" in str(failure) or "`seed`" in str(failure)):
                self.without_seed = True
                return True
        return False

    def _refused(self, failure: _Failed) -> Answer:
        """Return the answer to a request that the server refuses. A refused content keeps its slot of N, empty."""
        with self.lock:
            self.failures = 0
        if failure.code == "content_filter":
            return Answer(finish_reason="content_filter")
        return Answer(error=f"the server refused it: {failure}")

    def _about_the_key(self, status: int) -> str:
        if status == 404:
            return ""
        variable = self.access.key_variable
        return f"; it is read from {variable}" + ("" if self.has_key else ", which is not set where requests are made")

    def _wait(self) -> None:
        """Wait until the server wants to be asked. Raises EndpointStopped where no more is to be asked."""
        while True:
            with self.lock:
                if self.stopped is not None:
                    raise EndpointStopped(str(self.stopped))
                seconds = self.not_before - time.monotonic()
            if seconds <= 0:
                return
            time.sleep(min(seconds, 1.0))

    def _spend(self) -> None:
        """Count a request. Raises EndpointStopped where the budget is used."""
        access = self.access
        with self.lock:
            if self.tally.requests >= (access.max_requests or 2**62):
                self._stop_with(f"the budget of {access.max_requests:,} requests (--max-requests) is used")
            if self.tally.tokens >= (access.max_tokens or 2**62):
                self._stop_with(f"the budget of {access.max_tokens:,} tokens (--max-tokens-total) is used")
            self.tally.add(requests=1)

    def _pause(self, failure: _Failed, began: float) -> None:
        """Let all threads wait before the next request. Raises EndpointStopped where patience is at its end.

        began: when the request was sent.
        """
        with self.lock:
            now = time.monotonic()
            self.failing_since = self.failing_since if self.failures else now
            if began >= self.paused_at:
                self.failures, self.paused_at = self.failures + 1, now
            backoff = min(_LONGEST_BACKOFF, self.access.backoff_seconds * 2 ** min(self.failures - 1, 10))
            seconds = failure.retry_after if failure.retry_after is not None else backoff * random.uniform(0.5, 1)
            since = now - self.failing_since
            if failure.retry_after is not None and seconds > self.access.patience_seconds:
                self._stop_with(f"it asks to wait for {seconds:.0f} s: {failure}")
            if since + seconds > self.access.patience_seconds:
                self._stop_with(f"no answer for {since:.0f} s: {failure}")
            self.not_before = max(self.not_before, now + seconds)

    def _stop(self, why: str) -> NoReturn:
        with self.lock:
            self._stop_with(why)

    def _stop_with(self, why: str) -> NoReturn:
        """Stop all threads; called with the lock held."""
        self.stopped = self.stopped or EndpointStopped(f"{self.access.endpoint.source}: {why}")
        raise EndpointStopped(str(self.stopped))


class _Failed(Exception):
    """A request that failed. status: of HTTP, 0 where there was none. retry_after: seconds that the server asks for."""

    def __init__(self, message: str, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(" ".join(message.split())[:300])
        self.status, self.retry_after = status, retry_after
        self.code = self.param = ""


def _message(body: object) -> str:
    """Return what a server says of an error, as OpenAI's and vLLM's form have it; "" for another form."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    return str(inner.get("message") or "") if isinstance(inner, dict) else ""


def read_answer(reply: object, seed_sent: bool) -> Answer:
    """Read a chat completion. Raises ValueError for what is none."""
    try:
        choice = reply["choices"][0]  # type: ignore[index]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        thinking = message.get("reasoning_content") or message.get("reasoning") or ""
        finish_reason, usage = choice.get("finish_reason"), reply.get("usage") or {}  # type: ignore[attr-defined]
        details = usage.get("completion_tokens_details") or {}
        fingerprint = reply.get("system_fingerprint") or ""  # type: ignore[attr-defined]
        counts = int(usage.get("completion_tokens") or 0), int(details.get("reasoning_tokens") or 0)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(f"no chat completion: {' '.join(repr(reply).split())[:100]}") from error
    texts = (content, refusal, thinking, finish_reason, fingerprint)
    if not all(text is None or isinstance(text, str) for text in texts):
        raise ValueError(f"no chat completion: {' '.join(repr(reply).split())[:100]}")
    if refusal and not content:
        finish_reason = "content_filter"
    return Answer(
        text=content or "",
        thinking=thinking,
        finish_reason=finish_reason if finish_reason in ("length", "content_filter") else "stop",
        num_tokens=counts[0],
        num_thinking_tokens=counts[1],
        fingerprint=fingerprint,
        seed_sent=seed_sent,
    )


def _total_tokens(reply: object) -> int:
    usage = (reply.get("usage") if isinstance(reply, dict) else None) or {}
    return int(usage.get("total_tokens") or 0)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which a server wants to be asked again; None where it does not say."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            return max(0.0, float(text) / unit)
        except ValueError:
            pass
        try:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
        except ValueError:
            continue
    return None
