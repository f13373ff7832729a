"""Ray for a study: the cluster that RAY_ADDRESS names is joined; without one, Ray is started on this machine.

Ray runs the code of whoever reaches its ports, and listens on all of the machine's addresses. So a Ray that is started
here asks for a token, which this process alone holds.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import placements
from components.dataflow.errors import InputError, StudyError
from components.dataflow.runner import Runner

_ADDRESS = re.compile(r"(?:ray://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})")
_REACHED_WITHIN = 10.0  # seconds, by a head that may just be starting
_JOINED_WITHIN = "STEPVERIFY_JOIN_SECONDS"


def check_address() -> None:
    """Raise InputError for a RAY_ADDRESS that is no address, and for a time to join that is no number."""
    seconds = os.environ.get(_JOINED_WITHIN) or "15"
    if not seconds.replace(".", "", 1).isdecimal():
        raise InputError(f"{_JOINED_WITHIN} {seconds}: not a number of seconds")
    address = _address()
    if address not in ("", "auto") and not _ADDRESS.fullmatch(address):
        raise InputError(
            f"RAY_ADDRESS {address}: no address of a Ray cluster: give HOST:PORT of its head, or auto, or unset it to "
            "start Ray on this machine"
        )


def check_installed() -> None:
    """Raise InputError where a run would find no Ray: the base install evaluates files alone."""
    with contextlib.suppress(ModuleNotFoundError):
        if importlib.util.find_spec("ray") is not None:
            return
    raise InputError("a study runs on Ray, which is not installed: install stepverify[cpu] or stepverify[gpu]")


def start_ray(
    runner: Runner, verbose: bool, placement: placements.Placement | None = None, sharding: str | None = None
) -> None:
    """Join or start Ray, and place the study there (placement None: `auto`).

    Raises InputError where the study does not fit or RAY_ADDRESS is no address, StudyError where Ray does not start or
    the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = _address()
    if not address:
        _ask_for_a_token(runner.say)
    import ray
    import ray.data

    if ray.is_initialized():
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    if address:
        _join(address, verbose, runner.say)
    else:
        _start(verbose)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = 0
    context.print_on_execution_start = False
    present = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    try:
        chosen = placements.choose(placement, present, sharding)
    except placements.PlacementError as error:
        raise InputError(str(error)) from error
    runner.say(placements.describe(chosen, present))
    runner.pools = chosen.pools


def _address() -> str:
    """Return the address of the cluster to join, "" for none."""
    address = os.environ.get("RAY_ADDRESS", "").strip()
    return "" if address == "local" else address


def _ask_for_a_token(say: Callable[[str], None]) -> None:
    """Have the Ray that this process will start refuse whoever lacks a token, made here. Ray reads this when it is
    imported."""
    if "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE") != "token":
        say("note: this process had imported Ray before, so that its Ray asks for no token (docs/security.md)")
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    if "ray" not in sys.modules:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _start(verbose: bool) -> None:
    import ray

    if not __name__.startswith("stepverify."):  # not installed: workers find the repository as this process does
        root = str(Path(__file__).parents[__name__.count(".")])
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        ray.init(
            address="local",
            num_cpus=max(2, os.cpu_count() or 2),
            include_dashboard=False,
            logging_level=logging.WARNING,
            log_to_driver=verbose,
        )
    except Exception as error:  # each of Ray's processes fails in its own way
        raise StudyError(
            f"Ray did not start on this machine: {_first_line(error)}. The machine may be too busy, or short of memory "
            "or disk; what is committed is kept, so run it again"
        ) from error


def _join(address: str, verbose: bool, say: Callable[[str], None]) -> None:
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined] # nothing public asks for so little
    from ray.exceptions import AuthenticationError

    check_address()
    found = _ADDRESS.fullmatch(address)
    if found:
        _reach(address, found["host"].strip("[]"), int(found["port"]))
    try:
        with _ends_the_process(address):
            if found and not address.startswith("ray://"):
                # Ray's own join asks again and again where the token is not the cluster's.
                GcsClient(address=address).get_all_job_info(timeout=10)
            ray.init(address="auto", logging_level=logging.WARNING, log_to_driver=verbose)
    except AuthenticationError as error:
        raise StudyError(
            f"RAY_ADDRESS {address}: the cluster asks for a token, and does not take this one: set RAY_AUTH_MODE=token "
            "and, to that of the cluster, RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from error
    except Exception as error:  # each of Ray's processes fails in its own way
        raise StudyError(f"RAY_ADDRESS {address}: cannot be joined: {_first_line(error)}") from error
    if os.environ.get("RAY_AUTH_MODE") != "token":
        say(
            f"note: the Ray cluster at {address} asks for no token: whoever reaches its ports can run code there as "
            "its user (docs/security.md)"
        )


def _reach(address: str, host: str, port: int) -> None:
    """Raise StudyError when nothing answers at the address: Ray itself would try for minutes."""
    until = time.monotonic() + _REACHED_WITHIN
    while True:
        try:
            socket.create_connection((host, port), timeout=3).close()
            return
        except (OSError, OverflowError) as error:
            if time.monotonic() > until:
                raise StudyError(
                    f"RAY_ADDRESS {address}: no Ray cluster answers there: {error}; start one, or unset RAY_ADDRESS to "
                    "start Ray on this machine"
                ) from error
        time.sleep(1)


@contextmanager
def _ends_the_process(address: str) -> Iterator[None]:
    """End the process, with a line, when what is done in the block takes too long: where something else listens at the
    address, Ray waits for minutes, in code that no exception ends."""
    seconds = float(os.environ.get(_JOINED_WITHIN) or 15)

    def end() -> None:
        print(
            f"error: RAY_ADDRESS {address}: what listens there did not answer as a Ray cluster for {seconds:g} s (set "
            f"{_JOINED_WITHIN} for more); what is committed is kept, so run it again to go on",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
