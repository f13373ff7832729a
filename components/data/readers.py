"""Readers of users' files, local, on S3 or on a hub: files, folders and globs, row by row."""

from __future__ import annotations

import atexit
import functools
import glob
import importlib.util
import itertools
import json
import os
import re
import shutil
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from components.data.cells import short
from components.data.containers import rows_of_file
from components.data.sample_set_folder import ABOUT, ROWS
from components.dataflow.errors import InputError
from components.dataflow.model_files import file_digest
from components.dataflow.stage import digest

# How a name begins → the package that it needs, and the extra that installs it.
_REMOTE = {"s3": ("s3fs", "s3"), "hub": ("datasets", "hub"), "http": ("urllib", ""), "https": ("urllib", "")}


@functools.cache
def fetch(name: str) -> Path:
    """Return a file's path on this machine: its own, or a copy that lasts as long as this process.

    Copied are s3://bucket/file (also a folder or a glob), http(s)://host/file, http(s)://host/folder/ of a sample set,
    and hub:DATASET[[:CONFIG]:SPLIT] (by the package `datasets`; a data set of one split needs no SPLIT). Raises
    InputError.
    """
    if not name.strip():
        raise InputError("a name of a file is empty, as an unset shell variable leaves it")
    kind, _, rest = name.partition(":")
    if kind not in _REMOTE:
        return Path(name)
    needed, extra = _REMOTE[kind]
    if importlib.util.find_spec(needed) is None:
        raise InputError(f"{name}: needs the package {needed} (the extra `{extra}`)")
    folder = Path(tempfile.mkdtemp(prefix="stepverify-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        if kind == "hub":
            return _from_hub(rest, folder)
        return _from_s3(name, folder) if kind == "s3" else _from_url(name, folder)
    except Exception as error:  # whatever a network library raises
        raise InputError(f"{name}: cannot be fetched: {error}") from error


def _from_s3(url: str, folder: Path) -> Path:
    import fsspec

    files = fsspec.filesystem("s3")
    if any(sign in url for sign in "*?[") or files.isdir(url):
        files.get(url, str(folder), recursive=True)
        return folder
    path = folder / url.rpartition("/")[2]
    files.get_file(url, str(path))
    return path


def _from_url(url: str, folder: Path) -> Path:
    """Copy a file, or the files of a sample set where the address ends with a slash."""
    names = (ROWS, ABOUT) if url.endswith("/") else ("",)
    for name in names:
        path = folder / (name or urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2]) or "file")
        with urllib.request.urlopen(url + name, timeout=60) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
    return folder if len(names) > 1 else path


def _from_hub(name: str, folder: Path) -> Path:
    import datasets

    parts = name.split(":")
    if len(parts) > 3:
        raise InputError("write hub:DATASET, hub:DATASET:SPLIT or hub:DATASET:CONFIG:SPLIT")
    if len(parts) == 1 and (about := _file_of_hub(name, ABOUT)) is not None:  # a sample set, checked by its digests
        rows = _file_of_hub(name, ROWS)
        if rows is None:
            raise InputError(f"it has {ABOUT} and no {ROWS}: no whole sample set")
        shutil.copyfile(about, folder / ABOUT)
        shutil.copyfile(rows, folder / ROWS)
        return folder
    dataset = datasets.load_dataset(*(parts[:-1] or parts), split=parts[-1] if len(parts) > 1 else None)
    if isinstance(dataset, dict):
        if len(dataset) > 1:
            raise InputError(f"it has the splits {', '.join(dataset)}: write hub:{name}:SPLIT")
        [dataset] = dataset.values()
    path = folder / f"{parts[0].replace('/', '--')}.jsonl"
    dataset.to_json(path)
    return path


def _file_of_hub(name: str, file: str) -> Path | None:
    """Return a file of a data set on a hub, or of a folder; None where it has none, or where nobody answers."""
    if Path(name).is_dir():
        return Path(name) / file if (Path(name) / file).is_file() else None
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(huggingface_hub.hf_hub_download(name, file, repo_type="dataset"))
    except (errors.HfHubHTTPError, errors.EntryNotFoundError, errors.HFValidationError, OSError):
        return None


_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".arrow", ".csv", ".tsv")
_COMPRESSED = re.compile(r"\.(?:gz|bz2|xz|zst|zstd)$")
_NO_ROWS = (
    "dataset_info.json",
    "dataset_infos.json",
    "state.json",
    "config.json",
    ABOUT,
)  # what lies beside files of rows
_SPLIT = re.compile(r"(?<![a-z])(train|test|validation|valid|val|dev)(?![a-z])")


def data_files(path: Path) -> list[Path]:
    """Return the files of rows that a path names, in the order of names: itself, or those of a folder or of a glob.

    A folder is one of shards, a hub's snapshot, or what `datasets` saved by save_to_disk. Raises InputError where
    nothing is there, or where files of several splits would be read as one.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        return _files_of_folder(path)
    if path.exists():
        raise InputError(f"{path}: is no file and no folder")
    if not any(sign in str(path) for sign in "*?["):
        raise InputError(f"{path}: there is no such file")
    found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if not Path(name).is_dir()]
    if not found:
        raise InputError(f"{path}: no file matches it")
    _check_alike(path, found, [Path(os.path.relpath(file, _fixed_part(path))) for file in found])
    return found


def _fixed_part(pattern: Path) -> Path:
    """Return the folder of a glob that has no signs of one."""
    return next(folder for folder in pattern.parents if not any(sign in str(folder) for sign in "*?["))


def _check_alike(path: Path, files: Sequence[Path], names: Sequence[Path]) -> None:
    """Raise InputError where files are of several splits, or in several forms, as a file beside its conversion is.

    names: the files' names below what `path` fixes, folders included. Also where one is no file, as a link to nothing.
    """
    if other := next((file for file in files if not file.is_file()), None):
        raise InputError(f"{other}: is no file, or a link to none")
    splits = {found[-1] for name in names if (found := _SPLIT.findall(name.as_posix().lower()))}
    if len(splits) > 1:
        example = f", as '{path}/test-*'" if path.is_dir() else ""
        raise InputError(f"{path}: holds the splits {', '.join(sorted(splits))}: name one{example}")
    forms = sorted({_ending(file) for file in files})
    if len(forms) > 1:
        raise InputError(f"{path}: holds files of several kinds ({', '.join(forms)}), which may be the same rows twice")
    plain = [_COMPRESSED.sub("", str(file).lower()) for file in files]
    if len(set(plain)) < len(plain):
        twice = next(name for name in plain if plain.count(name) > 1)
        raise InputError(f"{path}: holds {short(Path(twice).name)} twice, once compressed: name one")


def _files_of_folder(folder: Path) -> list[Path]:
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(state.parent.name for state in folder.glob("*/state.json"))
        raise InputError(f"{folder}: holds the splits {', '.join(splits)}: name the folder of one")
    if (folder / "state.json").is_file():  # by save_to_disk, which says which files are its rows
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            return [folder / Path(one["filename"]).name for one in state["_data_files"]]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise InputError(f"{folder}: state.json does not name its files as `datasets` does") from error
    names = [path.relative_to(folder) for path in folder.rglob("*")]
    names = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    rows = [name for name in names if _ending(name) in _ENDINGS and name.name not in _NO_ROWS]
    rows = [name for name in rows if not (folder / name).is_dir()]
    if not rows:
        raise InputError(f"{folder}: holds no file of rows ({', '.join(_ENDINGS)}, also compressed)")
    files = [folder / name for name in sorted(rows)]
    _check_alike(folder, files, rows)
    return files


def _ending(name: Path) -> str:
    return Path(_COMPRESSED.sub("", name.name.lower())).suffix


def read_records(
    path: Path, most: int | None = None, columns: Collection[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, of a folder or of a glob, the first `most`; see containers.py for the formats.

    columns: those that are needed: others may be left out. A row of which nothing can be read is an `UnreadableRow`.
    Raises InputError.
    """
    rows = itertools.chain.from_iterable(rows_of_file(file, columns) for file in data_files(path))
    return itertools.islice(rows, most)


def rows_digest(path: Path) -> str:
    """Return the digest of what a path names: of a file its content, else the files' contents and names."""
    if path.is_file():
        return file_digest(path)
    base = path if path.is_dir() else path.parent
    return digest([[os.path.relpath(file, base), file_digest(file)] for file in data_files(path)])


def check_unchanged(path: Path, expected: str) -> None:
    """Raise InputError when a file is not the one that the study was started with."""
    if rows_digest(path) != expected:
        raise InputError(f"{path}: changed while the study ran; start it again")
