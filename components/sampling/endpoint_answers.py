"""What a server of OpenAI's chat interface answers, read: an answer, or why there is none."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

# Other words of servers for why an answer ended, and those that say that it was not finished.
_SAME_REASON = {"eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop"}
_SAME_REASON |= {"max_tokens": "length", "model_length": "length", "tool_calls": "stop", "function_call": "stop"}
_SAME_REASON |= {"safety": "content_filter"}
_BROKEN_OFF = ("error", "abort")


@dataclass(frozen=True)
class Answer:
    """What a server answered to one request, or why it refused it (error)."""

    text: str = ""
    thinking: str = ""
    finish_reason: str | None = None  # stop, length, or content_filter: it would not answer
    num_tokens: int = 0
    num_thinking_tokens: int = 0
    fingerprint: str = ""
    met_stop: bool = False  # one of the texts before which a sample ends, as far as the server says
    seed_sent: bool = False
    error: str | None = None


class Failed(Exception):
    """A request that failed. status: of HTTP, 0 where there was none. retry_after: seconds that the server asks for."""

    def __init__(self, message: str, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(" ".join(message.split())[:300])
        self.status, self.retry_after = status, retry_after
        self.code = self.param = ""
        self.weight = int(status != 429)  # a pace that is too fast is no fault of the request


def error_message(body: object) -> str:
    """Return what a server says of an error, as OpenAI's and vLLM's form have it; "" for another form."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    return str(inner.get("message") or "") if isinstance(inner, dict) else ""


def read_answer(reply: object, seed_sent: bool, most: int) -> Answer:
    """Read a chat completion of at most so many tokens. Raises ValueError for what is none.

    An answer without a reason why it ended is finished where it has fewer tokens, as far as the server counts them.
    """
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
    if choice.get("error") or str(finish_reason).lower() in _BROKEN_OFF:
        raise ValueError(f"it broke off ({choice.get('error') or finish_reason})")
    texts = (content, refusal, thinking, finish_reason, fingerprint)
    if not all(text is None or isinstance(text, str) for text in texts):
        raise ValueError(f"no chat completion: {' '.join(repr(reply).split())[:100]}")
    if refusal and not content:
        finish_reason = "content_filter"
    if not finish_reason and counts[0]:
        finish_reason = "stop" if counts[0] < most else "length"
    word = (finish_reason or "").lower()
    return Answer(
        text=content or "",
        thinking=thinking,
        finish_reason=_SAME_REASON.get(word, word) or None,
        num_tokens=counts[0],
        num_thinking_tokens=counts[1],
        fingerprint=fingerprint,
        met_stop=isinstance(choice.get("stop_reason"), str),
        seed_sent=seed_sent,
    )


def total_tokens(reply: object) -> int | None:
    """Return the tokens of prompt and answer, as the server counts them; None where it does not say."""
    usage = reply.get("usage") if isinstance(reply, dict) else None
    if not isinstance(usage, dict):
        return None
    total = usage.get("total_tokens")
    if isinstance(total, int | float):
        return int(total)
    asked, answered = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not (isinstance(asked, int | float) and isinstance(answered, int | float)):
        return None
    return int(asked + answered)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which a server wants to be asked again; None where it does not say."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) / unit
            return None if math.isnan(seconds) else max(0.0, seconds)
        except ValueError:
            pass
        try:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
        except ValueError:
            continue
    return None
