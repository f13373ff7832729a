"""Records of the store: JSON that carries its own sha256, and is believed only for what was asked.

Whoever can write to the store can write a record. So the names in a record are checked before a path is built of them,
its fields before they are used, and its stage and whole key against what was asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from components.dataflow.datasets import Dataset, Shard, content_digest
from components.dataflow.errors import StoreError

MANIFEST = "_manifest.json"
FILES = "_files.json"  # the list of a model's files, written before the files themselves

_STAGE = r"[a-z0-9_]{1,100}(?:_at_[0-9][0-9.e+-]{0,20})?"  # a sweep names its models by their learning rate
_MOST = 2**63
_HEX64, _HEX32, _HEX16 = (f"[0-9a-f]{{{length}}}" for length in (64, 32, 16))
_FILE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}"  # hidden and underscored names are the store's own
_STUDY = r"[^\x00-\x1f/\\.][^\x00-\x1f/\\]{0,254}"
_FORMS = {
    "stage": re.compile(_STAGE),
    "digest": re.compile(_HEX64),
    "content": re.compile(_HEX16),
    "file": re.compile(rf"(?:{_FILE}/){{0,3}}{_FILE}"),
    "folder": re.compile(rf"(?:datasets|models)/{_STAGE}-{_HEX16}"),
}
# Every name that the store gives to a file, by its first folder. Files for people (studies/) and files put aside
# (quarantine/) have names of any form, and no command removes them.
_PATHS = {
    "shards": rf"shards/(?P<stage>{_STAGE})/{_HEX64}\.parquet",
    "commits": rf"commits/(?P<stage>{_STAGE})/{_HEX64}\.json",
    "datasets": rf"datasets/(?P<stage>{_STAGE})-{_HEX16}/(?:_manifest\.json|part-[0-9]{{5,9}}\.parquet)",
    "models": rf"models/(?P<stage>{_STAGE})-{_HEX16}/(?:_manifest\.json|{_HEX16}/_files\.json)",
    "scratch": rf"scratch/(?:attempts/(?P<stage>{_STAGE})-{_HEX64}\.json|(?P<stage_>{_STAGE})-{_HEX16}/"
    r"(?:rows-[0-9]+-[0-9]+\.parquet|state-[0-9]+\.pt|state\.pt|state\.json|progress\.json|save|"
    r"run/(?:\.validate_storage_marker|checkpoint_manager_snapshot\.json|\.lock)))",
    "tensorboard": rf"tensorboard/(?P<stage>{_STAGE})-{_HEX16}/events\.out\.tfevents\.[0-9.]+\.{_FILE}\.[0-9]+",
    "runs": rf"runs/{_STUDY}/[0-9]{{20}}-[0-9a-f]{{8}}\.json",
    "answers": rf"answers/(?:tally/[0-9]{{20}}-[0-9a-f]{{8}}|(?P<stage>{_STAGE})/{_HEX64})\.json",
    "leases": rf"leases/(?:(?P<stage>{_STAGE})-{_HEX16}|map-{_HEX32})\.json",
}
_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")
_OWN = {folder: re.compile(pattern) for folder, pattern in _PATHS.items()}
_TEMPORARY = re.compile(rf"(?P<folder>.*/)?\.(?P<name>[^/]+)\.{_HEX32}\.tmp")
OWN_FOLDERS = tuple(_OWN)

_SHARD_NAMES = re.compile(f"{_STAGE} {_HEX64} {_HEX64}")
_SHARD = {"stage": str, "key": str, "digest": str, "size": int, "rows": int, "rows_error": int, "attributes": dict}
# Fields of manifests that some version of the store does not write, with the values that their absence means.
_MANIFEST: dict[str, tuple[type | tuple[type, ...], Any]] = {
    "seconds": ((int, float), 0.0),
    "recipe": (dict, {}),
    "inputs": (dict, {}),
    "model_files": (dict, {}),
    "libraries": (dict, {}),
    "created_at": (str, ""),
    "git_commit": ((str, type(None)), None),
    "code": ((str, type(None)), None),
    "placement": ((dict, type(None)), None),
    "rows_in": (int, 0),
    "rows_out": (int, 0),
    "rows_error": (int, 0),
    "shards_reused": (int, 0),
    "metrics": (dict, {}),
    "training_workers": ((int, type(None)), None),
}


def seal(value: Mapping[str, Any]) -> bytes:
    """Encode a record as JSON that carries its own sha256, so that a reader notices damage."""
    body = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return f'{{"sha256":"{hashlib.sha256(body.encode()).hexdigest()}","record":{body}}}\n'.encode()


def unseal(data: bytes, name: str) -> dict[str, Any]:
    """Read the record in sealed bytes. Raises StoreError, naming the file, when the bytes are not what was written."""
    start, end = b'{"sha256":"', b"}\n"
    body = data[len(start) + 64 + len(b'","record":') : -len(end)]
    sealed = start + hashlib.sha256(body).hexdigest().encode() + b'","record":' + body + end
    if data != sealed:
        raise StoreError(f"{name} is damaged: it is not what was written; `verify --repair` puts it aside")
    try:
        # A lone surrogate cannot be encoded again, so no record of ours holds one.
        record = None if b"\\u" in body and _SURROGATE.search(body) else json.loads(body)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise _refused(name, "it is not a record")
    return record


def note_of(data: bytes) -> dict[str, Any]:
    """Read the JSON object in a note, which is not sealed since no result depends on it; {} for anything else."""
    try:
        note = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def is_name(form: str, value: object) -> bool:
    """Return whether a value is a name of a form: "stage", "digest" (a key too), "content" (a digest's first 16
    digits), "file" of a model, or "folder" in a store.
    """
    return isinstance(value, str) and _FORMS[form].fullmatch(value) is not None


def stage_of(path: str) -> str | None:
    """Return the stage of a path that the store may have given; "" for one of no stage, None for other paths.

    The files inside a model's folder are named by its records alone, so None is returned for them.
    """
    path = without_temporary(path)
    pattern = _OWN.get(path.partition("/")[0])
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        return None
    groups = match.groupdict()
    return groups.get("stage") or groups.get("stage_") or ""


def without_temporary(path: str) -> str:
    """Return the path that a temporary file is written for; any other path as it is."""
    temporary = _TEMPORARY.fullmatch(path)
    return (temporary["folder"] or "") + temporary["name"] if temporary else path


def shard_of(record: object, name: str, stage: str | None = None, key: str | None = None) -> Shard:
    """Read the shard that a record describes. stage, key: those that were asked for; None: any.

    Raises StoreError, with the record's name, for fields that are missing, unknown, of another type or form, and for a
    record of another stage or key.
    """
    if not isinstance(record, dict) or record.keys() != _SHARD.keys():
        raise _refused(name, f"a shard has the fields {', '.join(_SHARD)}")
    for field, kind in _SHARD.items():
        if type(record[field]) is not kind:
            raise _refused(name, f"its {field} is not {_NAMES[kind]}")
    if not _SHARD_NAMES.fullmatch(f"{record['stage']} {record['key']} {record['digest']}"):
        raise _refused(name, "its stage, key or digest is not a name that a store gives")
    if not (0 <= record["size"] < _MOST and 0 <= record["rows_error"] <= record["rows"] < _MOST):
        raise _refused(name, "its counts are not possible")
    if any(type(value) is not str for value in record["attributes"].values()):
        raise _refused(name, "an attribute is not text")
    _check_asked(record, name, stage, key)
    return Shard(**record)


def manifest_of(record: dict[str, Any], name: str, stage: str | None = None, key: str | None = None) -> dict[str, Any]:
    """Check the fields of a manifest, all but its shards, and return it. Raises StoreError."""
    for field, (kinds, absent) in _MANIFEST.items():
        if not isinstance(record.setdefault(field, absent), kinds) or isinstance(record[field], bool):
            raise _refused(name, f"its {field} is not {' or '.join(_NAMES[kind] for kind in _kinds(kinds))}")
    if not is_name("stage", record.get("stage")) or not is_name("digest", record.get("key")):
        raise _refused(name, "its stage or key is not a name that a store gives")
    if not is_name("digest", record.get("digest")):
        raise _refused(name, "its digest is not a sha256")
    for inner in record["inputs"].values():
        if not (isinstance(inner, dict) and is_name("stage", inner.get("stage")) and "digest" in inner):
            raise _refused(name, "an input is not a stage and a digest")
    if not all(isinstance(files, dict) for files in record["model_files"].values()):
        raise _refused(name, "its model_files are not files by model")
    if not all(_is_count(record[field]) for field in ("rows_in", "rows_out", "rows_error", "shards_reused")):
        raise _refused(name, "its counts are not possible")
    if not _is_count(record["training_workers"] or 0):
        raise _refused(name, "its training_workers is not a number of workers")
    if not _is_amount(record["seconds"]):
        raise _refused(name, "its seconds are not a number of seconds")
    if record["placement"] is not None and not all(_is_amount(record["placement"].get(n)) for n in ("cpus", "gpus")):
        raise _refused(name, "its placement is not CPUs and GPUs")
    if not all(_is_number(value) for value in record["metrics"].values()):
        raise _refused(name, "a metric is not a number")
    _check_asked(record, name, stage, key)
    return record


def dataset_of(record: dict[str, Any], folder: str, name: str) -> Dataset:
    """Read the dataset that a checked manifest describes. Raises StoreError."""
    shards = record.get("shards")
    if not isinstance(shards, list):
        raise _refused(name, "it names no shards")
    parts = tuple(shard_of(shard, name, record["stage"]) for shard in shards)
    dataset = Dataset(record["stage"], folder, record["digest"], parts, seconds=record["seconds"])
    if content_digest(dataset.shards) != dataset.digest:
        raise _refused(name, "its digest is not that of its shards")
    return dataset


def model_files_of(record: dict[str, Any], name: str) -> dict[str, str]:
    """Read the files of a checked manifest, or of a model's list of files: name → sha256. Raises StoreError."""
    files = record.get("files")
    if not isinstance(files, dict):
        raise _refused(name, "it names no files")
    for file, value in files.items():
        if not is_name("file", file) or not is_name("digest", value):
            raise _refused(name, "a file in it has a name or digest that no store gives")
    return files


def run_of(record: dict[str, Any], name: str) -> dict[str, Any]:
    """Check a run's record and return it. Raises StoreError."""
    stages, making, uses = record.get("stages"), record.get("making"), record.get("uses", [])
    if not isinstance(record.get("study"), str) or not isinstance(record.get("finished"), bool):
        raise _refused(name, "it does not name its study, or does not say whether that is finished")
    if not isinstance(stages, dict) or not all(is_name("folder", folder) for folder in stages.values()):
        raise _refused(name, "its stages are not folders of this store")
    if not isinstance(uses, list) or not all(is_name("folder", folder) for folder in uses):
        raise _refused(name, "its `uses` are not folders of this store")
    if making is not None and not (isinstance(making, list) and all(is_name("stage", stage) for stage in making)):
        raise _refused(name, "its `making` are not stages")
    return record


_NAMES = {str: "text", int: "a whole number", float: "a number", dict: "a table", type(None): "null"}


def _kinds(kinds: type | tuple[type, ...]) -> tuple[type, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _is_amount(value: object) -> bool:
    return _is_number(value) and 0 <= value < 1e12  # type: ignore[operator]


def _check_asked(record: Mapping[str, Any], name: str, stage: str | None, key: str | None) -> None:
    if stage is not None and record["stage"] != stage:
        raise _refused(name, f"it is a record of stage {record['stage']}, and {stage} was asked for")
    if key is not None and record["key"] != key:
        raise _refused(
            name, f"it is the record of {record['stage']} {record['key'][:16]}…, and {key[:16]}… was asked for"
        )


def _refused(name: str, why: str) -> StoreError:
    return StoreError(
        f"{name} is refused: {why}; it was changed, put there from elsewhere, or written by another version of "
        "Stepverify. `verify --repair` puts it aside"
    )
