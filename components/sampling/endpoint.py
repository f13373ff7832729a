"""An endpoint: the address of a server that speaks OpenAI's chat interface, and the name of a model that it serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

KEY_VARIABLE = "OPENAI_API_KEY"  # of the environment: where its clients look for a key


@dataclass(frozen=True)
class Endpoint:
    """url: the address through /v1. model: as the server names it."""

    url: str
    model: str

    @property
    def source(self) -> str:
        """The text that names it."""
        return f"{self.url}#{self.model}"


@dataclass(frozen=True)
class EndpointAccess:
    """How an endpoint is asked. Nothing of it is part of a key.

    key_variable: the environment variable with the key, read where the requests are made, and never written anywhere.
    at_once: requests under way at the same time. max_requests, max_tokens: of one run, over all stages; None: no limit.
    patience_seconds: how long no request may succeed before the study stops. run: names the run whose spending counts.
    root: of the store, which keeps the answers.
    """

    endpoint: Endpoint
    key_variable: str = KEY_VARIABLE
    at_once: int = 32
    max_requests: int | None = None
    max_tokens: int | None = None
    patience_seconds: float = 600
    timeout_seconds: float = 600
    backoff_seconds: float = 1
    run: str = "run"
    root: str = ""


def is_endpoint(source: str | Path | Endpoint | None) -> bool:
    """Return whether a text names an endpoint."""
    return isinstance(source, Endpoint) or str(source).startswith(("http://", "https://"))


def read_endpoint(source: str) -> Endpoint:
    """Read http(s)://HOST/v1#MODEL. Raises ValueError.

    >>> read_endpoint("http://localhost:8000/v1/#Qwen/Qwen3-8B")
    Endpoint(url='http://localhost:8000/v1', model='Qwen/Qwen3-8B')
    """
    url, _, model = source.partition("#")
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{parts.scheme}://…: it has no host; http(s)://HOST/v1#MODEL is wanted")
    if "@" in parts.netloc:
        raise ValueError(
            f"{parts.scheme}://…@{parts.hostname}: an address with a password would be written down in many places; "
            f"put the key into {KEY_VARIABLE}"
        )
    if parts.query:
        raise ValueError(
            f"{url.partition('?')[0]}?…: an address with a query is not understood; http(s)://HOST/v1#MODEL is wanted"
        )
    try:
        parts.port  # noqa: B018 # read here, to be refused here
    except ValueError as error:
        raise ValueError(
            f"{source}: its port is no number up to 65535; http(s)://HOST:PORT/v1#MODEL is wanted"
        ) from error
    if not model.strip():
        raise ValueError(f"{source}: it has no model; write {url.rstrip('/')}#MODEL, as the server names it")
    return Endpoint(url.rstrip("/"), model.strip())
