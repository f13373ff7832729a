"""Explanations of misses: how a stage's recipe differs from the nearest earlier one, named by field and row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from components.dataflow.datasets import Dataset, Shard
from components.dataflow.plain_text import printable
from components.dataflow.records import MANIFEST, dataset_of
from components.dataflow.stage import MapStage, ModelStage, TableStage, recipe
from components.dataflow.store import Store

_ROWS_NAMED = 5  # rows of an input that are named; the others are counted


def why_missing(
    store: Store,
    stage: MapStage | TableStage | ModelStage,
    inputs: Mapping[str, Dataset],
    foreseen: Mapping[str, pa.Table],
) -> tuple[str, ...]:
    """Return lines like `config.temperature: 0.7 before, 0.8 now`; none when only shards are missing.

    The nearest earlier recipe is the one with the fewest differing fields, inputs included. foreseen: by digest, the
    rows of input shards that a plan made and the store does not hold.
    """
    now = describe(stage, inputs)
    nearest: tuple[list[str], dict[str, Any]] | None = None
    for manifest in manifests(store, stage.name):
        lines = list(differences(manifest["recipe"] | {"inputs": _digests(manifest["inputs"])}, now))
        if nearest is None or len(lines) < len(nearest[0]):
            nearest = lines, manifest
    if nearest is None:
        return ("it was never computed in this store",)
    lines, manifest = nearest
    row_lines = [
        line for name, dataset in inputs.items() for line in _input_rows(store, name, dataset, manifest, foreseen)
    ]
    return tuple(
        map(printable, (*lines, *row_lines, *_model_files(stage, manifest)))
    )  # they quote rows and files' names


def describe(stage: MapStage | TableStage | ModelStage, inputs: Mapping[str, Dataset]) -> dict[str, Any]:
    """Return all that a stage's key depends on: its recipe, and the digests of its inputs."""
    return recipe(stage) | {"inputs": {name: dataset.digest for name, dataset in inputs.items()}}


def manifests(store: Store, stage: str) -> Iterator[dict[str, Any]]:
    """Yield the manifests of all finished results of a stage, whatever their recipes."""
    for kind in ("datasets", "models"):
        for file in store.files.find(kind):
            folder, _, name = file.path.rpartition("/")
            if name == MANIFEST and folder.removeprefix(f"{kind}/").rpartition("-")[0] == stage:
                manifest = store.manifest(folder)
                if manifest is not None:
                    yield manifest


def differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yield a line for each leaf in which two JSON values differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in [*before, *(name for name in now if name not in before)]:
            inner = f"{path}.{name}" if path else str(name)
            yield from differences(before.get(name, "absent"), now.get(name, "absent"), inner)
    elif before != now:
        yield f"{path}: {_short(before)} before, {_short(now)} now"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:28] + "…" + text[-28:]


def _digests(inputs: Mapping[str, Any]) -> dict[str, str]:
    return {name: value["digest"] for name, value in inputs.items()}


def _input_rows(
    store: Store, name: str, dataset: Dataset, manifest: Mapping[str, Any], foreseen: Mapping[str, pa.Table]
) -> Iterator[str]:
    """Yield which rows of an input changed, where both versions are still in the store."""
    was = manifest["inputs"].get(name)
    if was is None or was["digest"] == dataset.digest:
        return
    datasets = (part for manifest in manifests(store, was["stage"]) for part in _parts(manifest))
    old = next((part for part in datasets if part.digest == was["digest"]), None)
    if old is None:
        return  # it is gone, and only its digest is known
    known = {shard.digest for shard in old.shards}
    new = [shard for shard in dataset.shards if shard.digest not in known]
    kept = {shard.digest for shard in dataset.shards}
    gone = [shard for shard in old.shards if shard.digest not in kept]

    def rows(shards: list[Shard]) -> list[dict[str, Any]]:
        tables = [foreseen[s.digest] if s.digest in foreseen else store.read_shard(s) for s in shards]
        return [row for table in tables for row in table.to_pylist()]

    line = f"inputs.{name}: {len(new)} of {len(dataset.shards)} shards of {dataset.name} differ"
    rows_before, rows_now = rows(gone), rows(new)
    before, now = ({_identity(row): row for row in some} for some in (rows_before, rows_now))
    if (len(before), len(now)) != (len(rows_before), len(rows_now)):
        yield line  # no column identifies these rows
        return
    changed = [identity for identity in now if identity in before and now[identity] != before[identity]]
    yield (
        f"{line}: {len(changed)} rows changed, {len(now.keys() - before.keys())} new, "
        f"{len(before.keys() - now.keys())} gone"
    )
    for identity in changed[:_ROWS_NAMED]:
        for difference in differences(before[identity], now[identity]):
            yield f"inputs.{name}: row {' '.join(map(str, identity))}: {difference}"


def _parts(manifest: Mapping[str, Any]) -> Iterator[Dataset]:
    """Yield a dataset, and the parts of it that flows select: the shards with an attribute, and those without it."""
    if "shards" not in manifest:
        return
    whole = dataset_of(dict(manifest), "", f"the manifest of {manifest['stage']}")
    shards = whole.shards
    yield whole
    for name, value in sorted({item for shard in shards for item in shard.attributes.items()}):
        yield whole.select(**{name: value})
        yield whole.without(**{name: value})


def _identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what identifies a row: a problem's place in its file, which stays when its text is edited, or its key."""
    if "source_row" in row:
        return (row.get("split"), row.get("source_row"))
    return tuple(row[name] for name in ("problem_id", "sample_index") if name in row)


def _model_files(stage: MapStage | TableStage | ModelStage, manifest: Mapping[str, Any]) -> Iterator[str]:
    for name, model in getattr(stage, "models", {}).items():
        before = manifest.get("model_files", {}).get(name, {})
        if before:
            yield from differences(before, dict(model.files), f"models.{name}")
