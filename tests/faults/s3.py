"""An S3 server in this process (moto), which can be told to misbehave as real ones do."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

BUCKET = "stepverify-tests"


class Faults:
    """Wraps a WSGI application: a share of the requests fails, in the ways named."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.rates: dict[str, float] = {}
        self.rng = random.Random(0)
        self.struck: dict[str, int] = {}
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self.lock:
            fault = next((name for name, rate in self.rates.items() if self.rng.random() < rate), "")
            if fault:
                self.struck[fault] = self.struck.get(fault, 0) + 1
        if fault == "slow":
            time.sleep(0.3)
        elif fault == "reset":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError("planted")
        elif fault in ("503", "409"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _refuse(start_response, fault)
        elif fault == "applied_then_500":
            list(self.application(environ, lambda *answer: None))
            return _refuse(start_response, "500")
        return self.application(environ, start_response)  # type: ignore[no-any-return]


def _refuse(start_response: Callable[..., Any], status: str) -> list[bytes]:
    code = {"503": "SlowDown", "409": "ConditionalRequestConflict", "500": "InternalError"}[status]
    body = f"<Error><Code>{code}</Code><Message>planted</Message></Error>".encode()
    start_response(f"{status} planted", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


@contextlib.contextmanager
def serve() -> Iterator[tuple[str, Faults, dict[str, str]]]:
    """(root URL, faults, environment variables that lead s3fs there); the bucket is there and empty."""
    import boto3
    import s3fs
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *arguments: Any) -> None:
            pass

    faults = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faults, threaded=True, request_handler=Quiet)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    s3fs.S3FileSystem.clear_instance_cache()  # connections of this process to an earlier server
    endpoint = f"http://127.0.0.1:{server.server_port}"
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "dummy",
        "AWS_SECRET_ACCESS_KEY": "dummy",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        client = boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id="dummy", aws_secret_access_key="dummy",
            region_name="us-east-1",
        )  # fmt: skip
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield f"s3://{BUCKET}", faults, environment
    finally:
        server.shutdown()
        thread.join()
