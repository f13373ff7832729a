"""Models by their name on the Hugging Face hub: hub:org/name, or hub:org/name@revision.

A revision (a branch, a tag or a commit; without one, main) is resolved to a commit, and its files come from the hub's
cache or into it. HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are read as everywhere. A stage's key has the digest
of the files, so a hub's name and a folder with the same files are one key.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

HUB = "hub:"
# The same weights in other forms, which are not read here, and what is of no use to a model.
_NOT_WANTED = [
    *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "*.tflite", "*.gguf"),
    *("onnx/*", "openvino/*", "coreml/*", "original/*", "consolidated*.safetensors", "*.nemo", "*.zip", "*.tar*"),
]
_NAME = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^\s@]+))?")


@dataclass(frozen=True)
class HubModel:
    """A model of the hub on this machine.

    name: org/name. commit: its revision, 40 hexadecimal digits. is_confirmed: the hub says now that this is the commit;
    otherwise the cache says so, and the hub may have a newer one.
    """

    name: str
    commit: str
    folder: Path
    is_confirmed: bool


def is_hub_name(source: str | Path) -> bool:
    """Tell whether a model's source is a name on the hub rather than a folder."""
    return str(source).startswith(HUB)


def hub_model(source: str, cached: bool = False) -> HubModel | None:
    """Return a model of the hub, its files fetched where the cache lacks them.

    cached: ask nobody; None for a model that is not whole in the cache. Raises ValueError, in one line, for a name that
    is none, a model or revision that is not there, one that asks for an account, and where the hub does not answer.
    """
    match = _NAME.fullmatch(source.removeprefix(HUB))
    if match is None:
        raise ValueError(f"{source}: no name of a model on a hub: write hub:ORG/NAME or hub:ORG/NAME@REVISION")
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors
    except ModuleNotFoundError:
        raise ValueError(f"{source}: names on a hub need huggingface_hub, which stepverify[cpu] installs") from None

    name, revision = match["name"], match["revision"]
    now = None if cached else _commit_now(name, revision)
    where = f"{constants.ENDPOINT}/{name}"
    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision, ignore_patterns=_NOT_WANTED, local_files_only=cached
        )
    except errors.GatedRepoError:
        why = f"its terms have to be accepted at {where}; then log in (hf auth login) or set HF_TOKEN"
    except errors.RepositoryNotFoundError:
        why = f"{constants.ENDPOINT} has no model {name}, or it is private: log in (hf auth login) or set HF_TOKEN"
    except errors.RevisionNotFoundError:
        why = f"{name} has no revision {revision or 'main'}"
    except errors.HFValidationError as error:
        why = f"no name of a model on a hub: {_line(error)}"
    except errors.LocalEntryNotFoundError as error:
        if cached:
            return None
        part = "only a part of it is" if isinstance(error, errors.IncompleteSnapshotError) else "it is not"
        offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} does not answer"
        why = (
            f"{offline}, and {part} in the cache {constants.HF_HUB_CACHE} (HF_HOME); fetch it once: hf download {name}"
        )
    except (errors.HfHubHTTPError, OSError) as error:
        why = f"it cannot be fetched: {_line(error)}"
    else:
        commit = Path(folder).name
        try:
            wanted = _wanted_alone(Path(folder))
        except OSError as error:
            where = f"{constants.HF_HUB_CACHE} or {_own_cache()}"
            raise ValueError(f"{source}: its files cannot be linked in {where}: {error}") from error
        return HubModel(name, commit, wanted, is_confirmed=commit in (now, revision))
    raise ValueError(f"{source}: {why}")


def _wanted_alone(folder: Path) -> Path:
    """Return a folder of the files of a snapshot that are fetched here: of links, where the cache has others too.

    Whatever else was fetched of a model, by other programs, its digest is one.
    """
    names = _files_in(folder)
    wanted = {name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in _NOT_WANTED)}
    if wanted == names:
        return folder
    try:
        return _links(folder, wanted, folder.parents[1] / "stepverify" / folder.name)
    except OSError:  # a cache that is shared, and not to be written to
        return _links(folder, wanted, _own_cache() / "hub" / folder.parents[1].name / folder.name)


def _links(folder: Path, wanted: set[str], linked: Path) -> Path:
    """Return a folder of links to these files of another, made where it is not there."""
    if _files_in(linked) != wanted:
        linked.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=linked.parent))
        for name in wanted:
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).symlink_to((folder / name).resolve())
        made.chmod(0o755)
        try:
            made.rename(linked)
        except OSError:  # one is there: another process was faster, or it is of other files
            aside = made.with_name(f"{made.name}.old")
            if _files_in(linked) != wanted:
                with contextlib.suppress(OSError):
                    linked.rename(aside)
                    made.rename(linked)
            shutil.rmtree(aside, ignore_errors=True)
            shutil.rmtree(made, ignore_errors=True)
    return linked


def _own_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stepverify"


def _files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _commit_now(name: str, revision: str | None) -> str | None:
    """Return the commit that the hub has for a revision; None where the hub does not tell.

    snapshot_download takes the cache's commit without a word then, so it cannot tell.
    """
    import huggingface_hub

    try:
        return huggingface_hub.HfApi().model_info(name, revision=revision, timeout=10).sha
    except Exception:  # of the hub's client or of what it is made of; snapshot_download tells the reason
        return None


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
