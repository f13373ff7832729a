#!/usr/bin/env python
"""A finished study for others, on a hub: its samples and report as a data set, and its reward models.

    # what would go, and nothing goes
    python flows/push.py ORG/NAME --study laptop --dry-run
    # private, unless --public is said
    python flows/push.py ORG/NAME --study laptop

The data set ORG/NAME gets the sample set of a split (as `export.py --format sample_set` writes it, which
compare_verifiers.py reads by hub:ORG/NAME) and the study's report, under `study/`. Each reward model is a model of its
own, ORG/NAME-orm and ORG/NAME-prm, with its card. HF_ENDPOINT and HF_TOKEN are read as everywhere.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, which finds its packages from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.dataflow.errors import InputError, StudyError
from components.dataflow.plain_text import printable
from flows.command_line import checks
from flows.command_line.errors import run_and_report_errors
from flows.command_line.options import Parser
from flows.exporting.sample_set import write_sample_set
from flows.study import StoredStudy, open_study

PARTS = ("samples", "report", "orm", "prm")
_REPORT = ("report.html", "summary.json", "lineage.json", "best_of_n.png", "best_of_n.parquet")
_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,90}")


@dataclass(frozen=True)
class Push:
    """One repository, and the folder that goes there. kind: dataset or model."""

    repository: str
    kind: str
    folder: Path

    @property
    def files(self) -> list[Path]:
        """Its files, without the store's own records."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith("_"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    again = "run it again: what is there is not sent again"
    return run_and_report_errors(lambda: _parse(argv), push, after_failure=again)


def push(options: argparse.Namespace) -> None:
    """Send the parts, or say what would be sent. Raises InputError, and StudyError where the hub refuses."""
    repository = options.repository.removeprefix("hub:")
    if _NAME.fullmatch(repository) is None:
        raise InputError(f"{options.repository}: ORG/NAME is wanted")
    study = open_study(checks.open_store(checks.store_root(options.root)), checks.study_name(options.study))
    with tempfile.TemporaryDirectory(prefix="push-") as folder:
        pushes = _gathered(study, repository, options, Path(folder))
        for one in pushes:
            size = sum(path.stat().st_size for path in one.files) / 1e6
            seen = "public" if options.public else "private"
            print(f"{one.kind} {one.repository} ({seen}): {len(one.files)} files, {size:,.1f} MB")
            for path in one.files:
                print(f"    {printable(path.relative_to(one.folder).as_posix())}")
        if options.dry_run:
            print("nothing was sent (--dry-run)")
            return
        api = _hub()
        for one in pushes:  # all, before anything is made
            _check_visibility(api, one, options.public)
        made = [_made(api, one, options.public) for one in pushes]
        for one, address in zip(pushes, made, strict=True):
            _send(api, one, study.name)
            print(address)


def _gathered(study: StoredStudy, repository: str, options: argparse.Namespace, folder: Path) -> list[Push]:
    """Gather what is to go in folders of this machine. Raises InputError for parts that the study does not have."""
    wanted = options.parts or [part for part in PARTS if part not in ("orm", "prm") or part in study.index]
    pushes = []
    if {"samples", "report"} & set(wanted):
        data = folder / "data"
        if "samples" in wanted:
            write_sample_set(study, options.split, data)
        if "report" in wanted:
            _copy_report(study, data / "study")
        pushes.append(Push(repository, "dataset", data))
    for name in (part for part in PARTS if part in wanted and part in ("orm", "prm")):
        pushes.append(Push(f"{repository}-{name}", "model", study.store.local_model(study.model(name))))
    return pushes


def _copy_report(study: StoredStudy, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in _REPORT:
        try:
            (folder / name).write_bytes(study.store.files.read(f"studies/{study.name}/{name}"))
        except FileNotFoundError:
            continue


def _hub() -> Any:
    try:
        from huggingface_hub import HfApi
    except ModuleNotFoundError:
        raise InputError("push needs huggingface_hub, which stepverify[cpu] installs") from None
    return HfApi()


def _made(api: Any, one: Push, public: bool) -> str:
    """Make a repository where it is not there. Return its address. Raises StudyError, as `_told` does."""
    with _told(one):
        return str(api.create_repo(one.repository, repo_type=one.kind, private=not public, exist_ok=True))


def _check_visibility(api: Any, one: Push, public: bool) -> None:
    """Raise InputError for a repository that is there and public, or private, unless that is asked for: the hub leaves
    it as it is. Raises StudyError, as `_told` does."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with _told(one):
        try:
            is_private = api.repo_info(one.repository, repo_type=one.kind).private
        except RepositoryNotFoundError:
            return
    if not public and not is_private:
        raise InputError(
            f"{one.kind} {one.repository} is there, and public: give --public, or another name; nothing was sent"
        )
    if public and is_private:
        raise InputError(
            f"{one.kind} {one.repository} is there, and private: make it public on the hub, or leave out --public; "
            "nothing was sent"
        )


def _send(api: Any, one: Push, study: str) -> None:
    """Send one folder. Raises StudyError, in one line, where the hub refuses or does not answer."""
    with _told(one):
        api.upload_folder(
            repo_id=one.repository,
            repo_type=one.kind,
            folder_path=one.folder,
            ignore_patterns=["_*"],
            commit_message=f"Study {study}",
        )


@contextlib.contextmanager
def _told(one: Push) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever the hub, or the way to it, gives
        line = " ".join(str(error).split())[:300]
        raise StudyError(
            f"{one.kind} {one.repository} cannot be sent: {line}; log in (hf auth login) or set HF_TOKEN"
        ) from error


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", metavar="ORG/NAME", help="the data set; models are ORG/NAME-orm and ORG/NAME-prm")
    parser.add_argument("--root", help="the store: a folder (default: outputs) or a URL (s3://bucket/prefix)")
    parser.add_argument("--study", required=True, metavar="NAME", help="folder under ROOT/studies, e.g. laptop")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="what goes (default: all that the study has)")
    parser.add_argument("--split", default="test", choices=["train", "test", "ood"], help="of the samples (test)")
    parser.add_argument("--public", action="store_true", help="for everybody to see (default: private)")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and send nothing")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
