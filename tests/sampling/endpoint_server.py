"""A small server of OpenAI's chat interface for tests: it counts what it is asked, and fails as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]


def completion(text: str | None, **changes: Any) -> Reply:
    """A good answer. changes: of the message, and finish_reason, fingerprint and thinking_tokens."""
    finish_reason = changes.pop("finish_reason", "stop")
    fingerprint, thought = changes.pop("fingerprint", "fp_1"), changes.pop("thinking_tokens", 0)
    message = {"role": "assistant", "content": text} | changes
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    usage |= {"completion_tokens_details": {"reasoning_tokens": thought}} if thought else {}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}], "usage": usage}
    return 200, {}, json.dumps(body | {"system_fingerprint": fingerprint, "model": "m"}).encode()


def failure(status: int, message: str = "no", headers: dict[str, str] | None = None, **error: str) -> Reply:
    """An answer that is an error."""
    return status, headers or {}, json.dumps({"error": {"message": message} | error}).encode()


def _is_good(content: bytes) -> bool:
    try:
        text = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return False
    return text is None or isinstance(text, str)


class EndpointServer:
    """answer(body, number) gives the reply to the number-th request (from 0) with that body."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Reply]) -> None:
        self.answer, self.seconds = answer, 0.0
        self.asked: list[dict[str, Any]] = []
        self.answered: Counter[str] = Counter()  # by body: how often a good answer went out
        self.keys: set[str] = set()
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(data)
                with outer.lock:
                    number = len(outer.asked)
                    outer.asked.append(body)
                    outer.keys.add(self.headers.get("Authorization", ""))
                time.sleep(outer.seconds)
                status, headers, content = outer.answer(body, number)
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                try:
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:  # whoever asked is gone
                    return
                if status == 200 and _is_good(content):
                    with outer.lock:
                        outer.answered[json.dumps(body, sort_keys=True)] += 1

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    @property
    def twice(self) -> list[str]:
        """The requests that were answered more than once."""
        return [body for body, times in self.answered.items() if times > 1]


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], Reply]) -> Iterator[EndpointServer]:
    """A server that runs."""
    server = EndpointServer(answer)
    thread = threading.Thread(target=server.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()
