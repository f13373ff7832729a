"""One interface to the files of a store, on local disk and on object storage. Nothing is renamed, listed or locked in
order to be right: a file is put whole, or created exclusively.

Local: written under a temporary name, synced, then renamed (`put`) or hard-linked (`create`). Object storage, through
fsspec: an object appears whole or not at all, and `create` is a conditional write (on S3 `If-None-Match: *`).
An uncertain answer (a timeout, a 500, a 412 that may be our own earlier success) is settled by reading back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

_ATTEMPTS = 8  # at one remote call that fails for a passing reason; waits from 0.05 s, doubled each time, to 5 s
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError, ValueError, TypeError)
_LEAVES = re.compile(r"/\.{0,2}/|[\\\x00]")  # "..", ".", an empty part (so an absolute path too), a backslash, NUL
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class FileInfo:
    """A file as a listing shows it."""

    path: str  # relative to the root
    size: int  # bytes
    modified: float  # seconds since the epoch, by the clock of the storage


class Files:
    """The files under a root: a folder, or a URL such as s3://bucket/prefix. Paths are relative, with slashes.

    Raises FileNotFoundError for a file that is not there, and OSError for a storage that keeps failing.
    """

    def __init__(self, root: str | Path) -> None:
        self.is_local = "://" not in str(root)
        self.root = os.path.abspath(root) if self.is_local else str(root).rstrip("/")
        self._connection: Any = None

    def __reduce__(self) -> tuple[type[Files], tuple[str]]:
        return Files, (self.root,)  # a connection does not travel to other processes

    def url(self, path: str) -> str:
        """Return a file's full name, for people and for pandas. Raises PermissionError for one outside of the root."""
        if _LEAVES.search(f"/{path}/"):
            raise PermissionError(f"{path!r} is not the path of a file of this store")
        return f"{self.root}/{path}"

    # Writing ----------------------------------------------------------------------------------------------------

    def put(self, path: str, data: bytes) -> None:
        """Write a file whole or not at all, replacing what is there."""
        if self.is_local:
            with _temporary(self.url(path)) as part:
                _write_synced(part, data)
                os.replace(part, self.url(path))
        else:
            _patiently(lambda: self._fs.pipe_file(self.url(path), data))

    def create(self, path: str, data: bytes) -> bytes:
        """Write a file if there is none of this name. Returns its content: `data`, or the first writer's."""
        if self.is_local:
            with _temporary(self.url(path)) as part:
                _write_synced(part, data)
                try:
                    os.link(part, self.url(path))
                except FileExistsError:
                    return self.read(path)
                return data
        return _patiently(lambda: self._create_once(path, data))

    def _create_once(self, path: str, data: bytes) -> bytes:
        try:
            self._fs.pipe_file(self.url(path), data, mode="create")
        except _FINAL:
            raise
        except Exception:
            # Another was first, or our own write succeeded and its answer was lost: the file that is there now counts.
            try:
                return bytes(self._fs.cat_file(self.url(path)))
            except FileNotFoundError:
                pass
            raise
        return data

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file into the store, whole or not at all, without holding it in memory."""
        if self.is_local:
            with _temporary(self.url(path)) as part:
                shutil.copyfile(source, part)
                os.replace(part, self.url(path))
        else:
            _patiently(lambda: self._fs.put_file(str(source), self.url(path)))

    def copy(self, source: str, target: str) -> None:
        """Give a file a second name: a hard link where the file system has them, else a copy made by the storage."""
        if not self.is_local:
            _patiently(lambda: self._fs.cp_file(self.url(source), self.url(target)))
            return
        with _temporary(self.url(target)) as part:
            try:
                os.link(self.url(source), part)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV):
                    raise
                shutil.copyfile(self.url(source), part)
            os.replace(part, self.url(target))

    def delete(self, path: str) -> None:
        """Remove a file; one that is not there is fine."""
        if self.is_local:
            Path(self.url(path)).unlink(missing_ok=True)
            return
        with contextlib.suppress(FileNotFoundError):
            _patiently(lambda: self._fs.rm_file(self.url(path)))

    def at_once(self, call: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Return a function's results on all items, in order: in turn on a disk, sixteen at a time over a network."""
        if self.is_local:
            return [call(item) for item in items]
        with ThreadPoolExecutor(16) as threads:
            return list(threads.map(call, items))

    def delete_folder(self, path: str) -> None:
        """Remove all files under a folder of the root."""
        if self.is_local:
            shutil.rmtree(self.url(path), ignore_errors=True)
            return
        with contextlib.suppress(FileNotFoundError):
            _patiently(lambda: self._fs.rm(self.url(path), recursive=True))

    # Reading ----------------------------------------------------------------------------------------------------

    def read(self, path: str) -> bytes:
        """Read a file whole."""
        if self.is_local:
            return Path(self.url(path)).read_bytes()
        return bytes(_patiently(lambda: self._fs.cat_file(self.url(path))))

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Open a file to read in parts; it is closed at the end of the block: an S3 stream left open hangs the exit."""
        file = Path(self.url(path)).open("rb") if self.is_local else _patiently(lambda: self._fs.open(self.url(path)))  # noqa: SIM115
        try:
            yield file
        finally:
            file.close()

    def size(self, path: str) -> int | None:
        """Return the bytes of a file, or None when there is none."""
        try:
            if self.is_local:
                return os.stat(self.url(path)).st_size
            return int(_patiently(lambda: self._fs.info(self.url(path)))["size"])
        except FileNotFoundError:
            return None

    def modified(self, path: str) -> float | None:
        """Return when a file was written, by the storage's clock, as `find` gives it; None when there is none."""
        try:
            if self.is_local:
                return os.lstat(self.url(path)).st_mtime
            return _modified(_patiently(lambda: self._fs.info(self.url(path))))
        except FileNotFoundError:
            return None

    def download(self, path: str, target: Path) -> None:
        """Copy a file of the store to a local one."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.is_local:
            shutil.copyfile(self.url(path), target)
        else:
            _patiently(lambda: self._fs.get_file(self.url(path), str(target)))

    def find(self, folder: str) -> Iterator[FileInfo]:
        """Yield all files under a folder ("": the root). For maintenance alone: commits are never found by listing.

        Raises OSError when any folder on the way cannot be listed: its files would be taken for missing.
        """
        start = self.url(folder) if folder else self.root
        if self.is_local:
            if folder and os.path.islink(start):
                raise OSError(f"{start} is a link to a folder, in which nothing is looked for")
            yield from self._find_local(start)
            return
        files = _patiently(lambda: self._fs.find(start, detail=True))
        prefix = self._fs._strip_protocol(self.root)
        for name, info in sorted(files.items()):
            if info["type"] == "directory":
                continue  # the folder itself: s3fs names it where the first file came just after an empty listing
            yield FileInfo(name[len(prefix) + 1 :], int(info["size"]), _modified(info))

    def _find_local(self, folder: str) -> Iterator[FileInfo]:
        def refuse(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # a folder that is not there has no files
                raise error

        for parent, folders, names in os.walk(folder, onerror=refuse):
            for name in folders:
                if os.path.islink(os.path.join(parent, name)):
                    raise OSError(f"{os.path.join(parent, name)} is a link to a folder, in which nothing is looked for")
            for name in names:
                path = os.path.join(parent, name)
                try:
                    stat = os.lstat(path)
                except FileNotFoundError:
                    continue  # a temporary file that is gone already
                yield FileInfo(os.path.relpath(path, self.root), stat.st_size, stat.st_mtime)

    def top(self) -> list[str]:
        """List the root itself: names of files, and of folders with a slash at their end; [] where there is no root.

        Raises OSError when the root cannot be listed.
        """
        try:
            if self.is_local:
                with os.scandir(self.root) as entries:
                    return sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries)
            listed = _patiently(lambda: self._fs.ls(self.root, detail=True))
        except FileNotFoundError:
            return []
        prefix = self._fs._strip_protocol(self.root)
        names = [info["name"][len(prefix) + 1 :] + "/" * (info["type"] == "directory") for info in listed]
        return sorted(name for name in names if name.strip("/"))

    # The storage ------------------------------------------------------------------------------------------------

    @property
    def _fs(self) -> Any:
        if self._connection is None:
            from fsspec.core import url_to_fs

            self._connection, _ = url_to_fs(self.root, use_listings_cache=False)
        return self._connection

    def arrow(self) -> tuple[Any, str]:
        """Return the root for libraries that take a pyarrow file system (None: the local one) and a path in it."""
        if self.is_local:
            return None, self.root
        import pyarrow.fs

        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(self._fs)), str(self._fs._strip_protocol(self.root))

    def check(self) -> None:
        """Raise OSError when the storage cannot be used, or cannot create files exclusively, before any work starts."""
        probe = f".probes/{uuid.uuid4().hex}"
        if self.is_local:
            os.makedirs(self.root, exist_ok=True)
        try:
            exclusive = self.create(probe, b"first") == b"first" and self.create(probe, b"second") == b"first"
            exclusive = exclusive and self.read(probe) == b"first"
        finally:
            self.delete(probe)
        if not exclusive:
            raise OSError("this storage does not create files exclusively, so two runs could overwrite each other")

    def now(self) -> float:
        """Return the time by the storage's own clock, in seconds since the epoch: ages of files are measured by it."""
        probe = f".probes/{uuid.uuid4().hex}"
        self.put(probe, b"")
        try:
            return next(info.modified for info in self.find(".probes") if info.path == probe)
        finally:
            self.delete(probe)


@contextlib.contextmanager
def _temporary(path: str) -> Iterator[Path]:
    """Give a temporary name beside a file; its file is gone at the end of the block, also on a full disk."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _modified(info: Mapping[str, Any]) -> float:
    """Return an fsspec file's time of writing, in seconds since the epoch."""
    modified = info.get("LastModified") or info.get("mtime") or info.get("updated") or info.get("created")
    return float(modified if isinstance(modified, float | int) else modified.timestamp())  # type: ignore[union-attr]


def _patiently(call: Callable[[], _Result]) -> _Result:
    """Make a remote call, again while it fails for a reason that may pass."""
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except _FINAL:
            raise
        except Exception:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(min(5.0, 0.05 * 2**attempt) * random.uniform(0.5, 1.0))
    raise AssertionError
