"""What a server said of its set-up when a store first asked it: a part of the key of all that it answers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Any

from components.dataflow.datasets import Dataset
from components.dataflow.errors import InputError
from components.dataflow.runner import Runner
from components.dataflow.stage import digest
from components.labels.endpoint_judge import ask_for_votes, judge_parameters
from components.sampling.endpoint import EndpointAccess
from components.sampling.endpoint_client import EndpointStopped
from components.sampling.endpoint_generation import first_fingerprint
from flows.study import VerifierSpec


def sampling_notes(run: Runner) -> list[str]:
    """Return what a reader must know of samples by an endpoint: other fingerprints than the key's, seeds, and thinking
    that may stand in texts."""
    solutions = run.results["solutions"]
    assert isinstance(solutions, Dataset)
    config = (run.store.manifest(run.store.folder_of(solutions)) or {}).get("recipe", {}).get("config", {})
    columns = ["fingerprint", "seed_sent", "error", "thinking", "text", "finish_reason"]
    rows = run.store.read(solutions, columns).to_pandas()
    rows = rows[rows["error"].isna()]
    others = rows.loc[rows["fingerprint"] != config.get("fingerprint", ""), "fingerprint"]
    notes = []
    if len(others):
        named = ", ".join(str(name) or "none" for name in others.unique()[:3])
        notes.append(
            f"{len(others):,} of {len(rows):,} samples were answered under another fingerprint than the study's "
            f"({named}): the server, or what it serves, was another"
        )
    if unseeded := int((~rows["seed_sent"]).sum()):
        notes.append(f"{unseeded:,} of {len(rows):,} samples have no seed: the server takes none")
    unmarked = (rows["finish_reason"] == "length") & (rows["thinking"] == "") & (rows["text"] != "")
    if (rows["thinking"] != "").any() and unmarked.any():
        notes.append(
            f"{int(unmarked.sum()):,} samples were cut and have no thinking, where others have some: their text may be "
            "thinking without its marker; --max-thinking-tokens N keeps it apart"
        )
    return notes


def with_fingerprints(run: Runner, specs: Iterable[VerifierSpec]) -> tuple[VerifierSpec, ...]:
    """Return the verifiers; judges behind an address with the fingerprint of their keys. Raises InputError."""
    return tuple(spec if spec.access is None else _with_fingerprint(run, spec, spec.access) for spec in specs)


def _with_fingerprint(run: Runner, spec: VerifierSpec, access: EndpointAccess) -> VerifierSpec:
    assert spec.stage is not None
    config: Any = spec.stage.config
    access = dataclasses.replace(access, run=run.run_id, root=run.store.root)
    found = fingerprint_of(run, f"--verifier {spec.name}", access, judge_parameters(config.judge))
    config = dataclasses.replace(config, judge=dataclasses.replace(config.judge, fingerprint=found))
    stage = dataclasses.replace(ask_for_votes(config, access), shown_as=spec.stage.shown_as)
    return dataclasses.replace(spec, stage=stage, access=access)


def fingerprint_of(run: Runner, flag: str, access: EndpointAccess, parameters: Mapping[str, Any]) -> str:
    """Return the fingerprint of an endpoint's model, as the store has it; else ask, and let the store keep it.

    The store keeps it by the model's name, whatever the address. A plan asks nothing: "" where the store has none.
    flag: the option that names the endpoint. parameters: those that it will be asked with. Raises InputError where it
    cannot be asked.
    """
    store, path = run.store, f"endpoints/{digest(access.endpoint.model)}.json"
    record = store.record(path)
    if record is None and run.plan_only:
        run.say(f"note: {flag} {access.endpoint.source} was never asked: the keys of its answers are not known yet")
        return ""
    if record is None:
        try:
            found = first_fingerprint(access, parameters)
        except (EndpointStopped, ValueError) as error:
            raise InputError(f"{flag} {error}") from error
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record = store.create_record(path, {"model": access.endpoint.model, "fingerprint": found, "first_asked": now})
    said = f"its fingerprint is {record['fingerprint']}" if record["fingerprint"] else "it gives no fingerprint"
    run.say(f"  {access.endpoint.source}: {said}, as first asked on {record['first_asked']}")
    return str(record["fingerprint"])
