"""The commands that every flow shares besides running: plan, status, explain, verify, gc."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping

from tqdm import tqdm

from components.dataflow.datasets import Dataset
from components.dataflow.errors import StoreError
from components.dataflow.explain import describe
from components.dataflow.garbage import collect, garbage
from components.dataflow.leases import RENEWED_EVERY, holder
from components.dataflow.maintenance import repair
from components.dataflow.maintenance import verify as verify_store
from components.dataflow.plain_text import printable
from components.dataflow.runner import Runner
from components.dataflow.source_digest import FORM, code_digest
from components.dataflow.stage import MapStage, ModelStage
from components.dataflow.stage_run import StageRun
from components.dataflow.storage import Files
from components.dataflow.store import Store
from components.report import main_study
from flows.command_line.errors import print_error

_FOREIGN_LISTED = 50
Columns = Mapping[str, Mapping[str, str]]  # column → stage → cell


def show(runner: Runner, options: argparse.Namespace, cost: Callable[[], tuple[Columns, list[str]]]) -> int:
    """Print what plan, status, explain and --only have to say, once the flow has looked at its stages or computed them.

    cost: gives a plan's columns on cost, and the lines under its table. Returns the exit status.
    """
    if options.only is not None and options.only not in {run.name for run in runner.runs}:
        return _no_stage("--only", options.only, runner)
    if options.command == "plan":
        columns, lines = cost()
        print("\n".join([main_study.plan_table(runner.runs, columns), *lines]))
    elif options.command == "status":
        for run in runner.runs:
            print(printable(_status(runner, run)))
        for line in at_work(runner.store.files):
            print(printable(line))
    elif options.command == "explain":
        runs = [run for run in runner.runs if run.name == options.stage]
        if not runs:
            return _no_stage("explain", options.stage, runner)
        print(_explanation(runner, runs[0]))
    elif options.only is not None:
        print(main_study.stage_table([run for run in runner.runs if run.name == options.only]))
    return 0


def _no_stage(what: str, name: str, runner: Runner) -> int:
    has = ", ".join(run.name for run in runner.runs)
    print_error(f"error: {what} {name}: this study has no such stage; it has {has}")
    return 2


def _status(runner: Runner, run: StageRun) -> str:
    result = runner.results.get(run.name)
    if result is None:
        about = f"waits for {run.waits_for}" if run.waits_for else ""
        if isinstance(run.stage, ModelStage) and not run.waits_for and (note := runner.progress(run.stage, run.inputs)):
            about = f"step {note['step']:,} of {note['steps']:,}, loss {note['loss']:.3f}"
        elif isinstance(run.stage, MapStage) and not run.waits_for:
            about = f"{run.shards_reused:,} of {run.shards_total:,} shards"
        return f"{run.name:<20} {run.status:<8} {about}".rstrip()
    manifest = runner.store.manifest(runner.store.folder_of(result))
    if manifest is None:
        return f"{run.name:<20} {run.status:<8}"
    line = f"{run.name:<20} there    {manifest['created_at']}  commit {(manifest['git_commit'] or 'unknown')[:12]}"
    line += f"  {run.rows:,} rows, {run.rows_error:,} with errors" if isinstance(result, Dataset) else ""
    if (workers := manifest["training_workers"] or 1) > 1:
        line += f"  trained on {workers} workers"
    if (manifest["code"] or "").partition(" ")[0] != FORM:
        line += "  (made by an earlier version or by another Python: whether its code changed is not known)"
    elif run.stage is not None and manifest["code"] != code_digest(run.stage):
        line += "  ! its code changed since, under the same version: raise the version if results can differ"
    return line


def at_work(files: Files) -> list[str]:
    """Return a line for each run that holds a lease, and whether the run still renews it, by the store alone."""
    paths = [file.path for file in files.find("leases") if file.path.endswith(".json")]
    before = {path: _read(files, path) for path in paths}
    if before:
        time.sleep(1.5 * RENEWED_EVERY)
    lines = []
    for path, held in sorted(before.items()):
        now = _read(files, path)
        if held is None or now is None:
            continue
        owner = holder(held)
        name = path.removeprefix("leases/").removesuffix(".json")
        where = f"process {owner.get('pid', 'unknown')} on {owner.get('host', 'an unknown host')}"
        lines.append(f"{name}: {where} works on it" if now != held else f"{name}: left by {where}, which is gone")
    return lines


def _read(files: Files, path: str) -> bytes | None:
    try:
        return files.read(path)
    except FileNotFoundError:
        return None


def _explanation(runner: Runner, run: StageRun) -> str:
    lines = [f"{run.name}: {run.status}" + (f", waits for {run.waits_for}" if run.waits_for else "")]
    if run.why:
        lines += ["what differs from the nearest earlier one:", *(f"  {line}" for line in run.why)]
    for other in runner.runs:
        if other.name in run.waits_for.split(", ") and other.why:
            lines += [f"{other.name}, which it waits for, differs in:", *(f"  {line}" for line in other.why)]
    if run.stage is not None:
        lines += ["its key is made of:", json.dumps(describe(run.stage, run.inputs), indent=2, ensure_ascii=False)]
    return "\n".join(lines)


def verify(store: Store, options: argparse.Namespace) -> int:
    """Check the store's records, shards and models; --repair moves what is bad to quarantine/.

    Returns 0 when everything is as it was written, else 1. Raises StoreError where not all can be listed.
    """
    with _whole(store), tqdm(desc="verify", unit=" records", mininterval=1, disable=None) as bar:
        checked = verify_store(store, options.deep, progress=lambda path: bar.update())
    for finding in checked.findings:
        print(f"bad: {printable(finding.path)}: {printable(finding.problem)}")
    how = "every byte" if options.deep else "sizes and footers; --deep reads every byte"
    print(
        f"{checked.records:,} records, {checked.shards:,} shards, {checked.models:,} models ({how}): "
        f"{len(checked.findings):,} bad"
    )
    if checked.findings and options.repair:
        moved = repair(store, checked.findings)
        print(f"{len(moved):,} files moved to {store.files.url('quarantine')}; the next run computes them again")
        if any(path.startswith("runs/") for path in moved):
            print("records of runs are among them: gc waits until those studies have run again")
        return 0
    return int(bool(checked.findings))


def gc(store: Store, options: argparse.Namespace) -> int:
    """List, or with --delete remove, what no kept run needs. Raises StoreError where that cannot be known."""
    with _whole(store):
        found = garbage(store, options.grace_days * 86_400, options.keep_runs, options.delete_everything)
    files = collect(store, found) if options.delete else found.files
    for file in files:
        print(f"{'removed' if options.delete else 'would remove'} {printable(file.path)} ({file.size:,} bytes)")
    for note in found.notes:
        print(f"note: {printable(note)}")
    for path in found.foreign[:_FOREIGN_LISTED]:
        print(f"left alone, since the store did not name it: {printable(path)}")
    if len(found.foreign) > _FOREIGN_LISTED:
        print(f"left alone likewise: {len(found.foreign) - _FOREIGN_LISTED:,} more")
    print(
        f"{len(files):,} files, {sum(file.size for file in files) / 1e6:,.1f} MB; {found.kept:,} files are kept"
        + ("" if options.delete else "; nothing was removed: add --delete")
    )
    return 0


@contextlib.contextmanager
def _whole(store: Store) -> Iterator[None]:
    """A look at the whole of a store. Raises StoreError for a part of it that cannot be listed or read."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{store.root}: not all of it can be read, so nothing was done: {error}") from error
