"""The client of an endpoint: it asks until there is an answer, keeps to the server's pace and to a budget, and stops in
order.

Retries are ours and not the openai client's, which gives up after seconds: a study is long, and so are rate limits.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from components.sampling.endpoint import EndpointAccess
from components.sampling.endpoint_answers import Answer, Failed, error_message, read_answer, retry_after, total_tokens
from components.sampling.kept_answers import Spending

_LONGEST_BACKOFF = 60.0  # seconds
# Failures of one request before its row may be given up: if as many others succeeded since its first one, or if the
# server answers a short question. Where all fail it is the server, and no row's fault. So many that chance will not do
# it where three requests of four fail; a timeout, which takes minutes, counts for several.
_OWN_FAILURES, _OF_A_TIMEOUT = 20, 5
PROBE, PROBE_TOKENS = "What is 1 + 1?", 16
_SHORT_TOKENS, _SLOWEST = 4096, 10.0  # an answer of more tokens has a second more for each so many
_TOO_FAST = 429
_REFUSED = (400, 413, 422)  # the request itself: another would fare no better
_NOT_LET_IN = {
    401: "the key is missing or wrong",
    402: "it wants to be paid first",
    403: "the key is not enough for it",
    404: "there is no such model",
}
_LEAST_SECRET = 8  # characters of a key that is one: shorter ones ("none", "x") are given to servers that ask for none


class EndpointStopped(OSError):
    """No more is asked: the budget is used, or the server does not answer. What was answered is kept."""


class EndpointClient:
    """Asks one endpoint, from any number of threads. tally: what this run has spent."""

    def __init__(self, access: EndpointAccess, tally: Spending) -> None:
        from openai import OpenAI

        self.access, self.tally = access, tally
        self.key = os.environ.get(access.key_variable, "").strip()
        self.stopped: EndpointStopped | None = None
        if not all("!" <= character <= "~" for character in self.key):
            self.key, why = "", "holds blanks, line ends or other characters that no key has"
            self.stopped = EndpointStopped(f"{access.endpoint.source}: {access.key_variable} {why}")
        self.client = OpenAI(base_url=access.endpoint.url, api_key=self.key or "none", max_retries=0)
        self.lock = threading.Condition()
        self.successes, self.reserved = 0, 0  # reserved: tokens that the requests under way may take
        self.given_up = 0
        self.not_before = 0.0  # when the server wants to be asked again
        # In a row, and since when. Requests that were under way together when one failed are one failure.
        self.failures, self.failing_since, self.paused_at = 0, 0.0, 0.0
        self.without_seed = False
        self.tokens_name = "max_tokens"

    def ask(self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], seed: int) -> Answer:
        """Ask once for one answer, and again as long as that can help. Raises EndpointStopped."""
        tries, failures, successes, others_are_answered = 0, 0, 0, False
        while True:
            most = int(parameters["max_tokens"])
            reserved = self._spend(most, messages)
            body, seed_sent = self._body(messages, parameters, seed)
            began, spent = time.monotonic(), None
            try:
                reply = self._post(body, most)
                spent = total_tokens(reply)
                answer = read_answer(reply, seed_sent, most)
            except (Failed, ValueError) as error:
                unread = f"its answer cannot be read: {error}"
                failure = error if isinstance(error, Failed) else self._failed(unread)
                if failure.status in _REFUSED and self._adapts(failure, body):
                    continue
                if failure.status in _REFUSED:
                    return self._refused(failure, seed_sent)
                if failure.status in _NOT_LET_IN:
                    self._stop(f"{_NOT_LET_IN[failure.status]} ({failure}){self._about_the_key(failure.status)}")
                if others_are_answered and failure.weight and self._answers() and self._gives_up():
                    what = f"the server failed on it {tries + 1} times, and answered others: {failure}"
                    return Answer(error=what, seed_sent=seed_sent)
                successes = successes if failures else self.successes
                tries, failures = tries + 1, failures + failure.weight
                others_are_answered = self._others_are_answered(failures, successes)  # then it is asked once more
                failures = 0 if failures >= _OWN_FAILURES else failures
                self._pause(failure, began)
                continue
            finally:
                self._release(reserved, spent or 0)
            if spent is None and self.access.max_tokens is not None:
                self._stop("it does not say how many tokens an answer took, and --max-tokens-total is a budget of them")
            with self.lock:
                self.failures, self.successes = 0, self.successes + 1
            return answer

    def _others_are_answered(self, failures: int, successes: int) -> bool:
        """Tell whether one request fails often, and others do not. successes: of all requests at its first failure."""
        with self.lock:
            since = time.monotonic() - self.failing_since if self.failures else 0.0
            others = self.successes - successes
            if self.given_up > self.successes:
                return False
        is_last_chance = failures > 1 and since >= self.access.patience_seconds - _LONGEST_BACKOFF
        if failures < _OWN_FAILURES and not is_last_chance:
            return False
        return others >= _OWN_FAILURES or self._answers()

    def _gives_up(self) -> bool:
        """Count a row that is given up: one more than requests succeeded at most. Where none does, it is the server."""
        with self.lock:
            if self.given_up > self.successes:
                return False
            self.given_up += 1
            return True

    def _answers(self) -> bool:
        """Ask the server one short question: does it answer at all?"""
        messages = [{"role": "user", "content": PROBE}]
        reserved = self._spend(PROBE_TOKENS, messages, waits=False)  # what failed holds its own part of the budget
        body, seed_sent = self._body(messages, {"max_tokens": PROBE_TOKENS}, seed=0)
        spent = None
        try:
            reply = self._post(body, PROBE_TOKENS)
            spent = total_tokens(reply)
            read_answer(reply, seed_sent, PROBE_TOKENS)
        except Failed as failure:
            if failure.status not in (*_REFUSED, _TOO_FAST):  # it answers, if not with an answer
                return False
        except ValueError:
            return False
        finally:
            self._release(reserved, spent or 0)
        with self.lock:
            self.failures = 0
        return True

    def _post(self, body: Mapping[str, Any], most: int) -> object:
        """Send one request. most: tokens of the answer. Raises Failed."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        seconds = self.access.timeout_seconds + max(0, most - _SHORT_TOKENS) / _SLOWEST
        try:
            return self.client.post("/chat/completions", cast_to=object, body=dict(body), options={"timeout": seconds})
        except APIStatusError as error:
            said = error_message(error.body) or str(error.message)
            failure = self._failed(said, error.status_code, retry_after(error.response.headers))
            failure.code, failure.param = str(error.code or ""), str(error.param or "")
            raise failure from error
        except APITimeoutError as error:
            failure = self._failed(f"no answer within {seconds:g} s")
            failure.weight = _OF_A_TIMEOUT
            raise failure from error
        except APIConnectionError as error:
            raise self._failed(f"it cannot be reached: {error.__cause__ or error}") from error
        except (OpenAIError, ValueError) as error:  # JSON that is none
            raise self._failed(f"its answer cannot be read: {error}") from error

    def _failed(self, said: str, status: int = 0, retry_after: float | None = None) -> Failed:
        """Return a failure without the key in it, which a server or a proxy may repeat."""
        is_secret = len(self.key) >= _LEAST_SECRET
        return Failed(said.replace(self.key, "…") if is_secret else said, status, retry_after)

    def _body(
        self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], seed: int
    ) -> tuple[dict[str, Any], bool]:
        with self.lock:
            seed_sent, tokens_name = not self.without_seed, self.tokens_name
        body = {"model": self.access.endpoint.model, "messages": list(messages), **parameters}
        body[tokens_name] = body.pop("max_tokens")
        return body | ({"seed": seed} if seed_sent else {}), seed_sent

    def _adapts(self, failure: Failed, body: Mapping[str, Any]) -> bool:
        """Leave out or rename what a server does not know. Return whether there is another way to ask."""
        with self.lock:
            if "max_completion_tokens" in str(failure) and "max_tokens" in body:
                self.tokens_name = "max_completion_tokens"
                return True
            if "seed" in body and (failure.param == "seed" or "'seed'" in str(failure) or "`seed`" in str(failure)):
                self.without_seed = True
                return True
        return False

    def _refused(self, failure: Failed, seed_sent: bool) -> Answer:
        """Return the answer to a request that the server refuses. A refused content keeps its slot of N, empty."""
        with self.lock:
            self.failures = 0
        if failure.code == "content_filter":
            return Answer(finish_reason="content_filter", seed_sent=seed_sent)
        return Answer(error=f"the server refused it: {failure}", seed_sent=seed_sent)

    def _about_the_key(self, status: int) -> str:
        if status == 404:
            return ""
        variable = self.access.key_variable
        return f"; it is read from {variable}" + ("" if self.key else ", which is not set where requests are made")

    def _spend(self, most: int, messages: Sequence[Mapping[str, str]], waits: bool = True) -> int:
        """Count a request, and return the tokens that are reserved for it: of the answer at most `most`, of the prompt
        at most its bytes. Raises EndpointStopped where no more is to be asked.

        It waits until the server wants to be asked, and, within a budget of tokens, until requests under way leave it
        room; alone it may go over by its own.
        """
        access = self.access
        reserved = most + sum(len(str(message["content"]).encode(errors="replace")) for message in messages)
        with self.lock:
            while waits and self.stopped is None and (seconds := self._seconds_to_wait(reserved)) > 0:
                self.lock.wait(min(seconds, 1.0))
            if self.stopped is not None:
                raise EndpointStopped(str(self.stopped))
            if self.tally.requests >= (access.max_requests or 2**62):
                self._stop_with(f"the budget of {access.max_requests:,} requests (--max-requests) is used")
            if self.tally.tokens >= (access.max_tokens or 2**62):
                self._stop_with(f"the budget of {access.max_tokens:,} tokens (--max-tokens-total) is used")
            self.tally.add(requests=1)
            self.reserved += reserved
        return reserved

    def _seconds_to_wait(self, reserved: int) -> float:
        total = self.tally.tokens + self.reserved + reserved
        has_room = not self.reserved or total <= (self.access.max_tokens or 2**62)
        return max(self.not_before - time.monotonic(), 0.0 if has_room else 1.0)

    def _release(self, reserved: int, spent: int) -> None:
        """Count what a request has spent, in place of what it might have."""
        try:
            if spent:
                self.tally.add(tokens=spent)
        finally:
            with self.lock:
                self.reserved -= reserved
                self.lock.notify_all()

    def _pause(self, failure: Failed, began: float) -> None:
        """Let all threads wait before the next request. Raises EndpointStopped where patience is at its end.

        began: when the request was sent.
        """
        with self.lock:
            now = time.monotonic()
            self.failing_since = self.failing_since if self.failures else now
            if began >= self.paused_at:
                self.failures, self.paused_at = self.failures + 1, now
            backoff = min(_LONGEST_BACKOFF, self.access.backoff_seconds * 2 ** min(self.failures - 1, 10))
            seconds = max(backoff * random.uniform(0.5, 1), failure.retry_after or 0.0)  # also where it says "at once"
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
