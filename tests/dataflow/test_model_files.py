"""Every file that a library would load from a model folder is in its digest, and none that is elsewhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from components.dataflow.errors import StoreError
from components.dataflow.model_files import folder_digest
from components.dataflow.stage import digest
from components.dataflow.store import Store
from flows.command_line import model_checks
from tests.faults.fake import publish_model

INDEX = "model.safetensors.index.json"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder as a hub's client leaves it: links to blobs, and notes of its own."""
    folder, blobs = tmp_path / "model", tmp_path / "blobs"
    blobs.mkdir()
    (folder / ".cache/huggingface").mkdir(parents=True)
    (folder / ".cache/huggingface/model.safetensors.metadata").write_text("etag")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs")
    (blobs / "abc").write_bytes(b"weights")
    (folder / "model.safetensors").symlink_to("../blobs/abc")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "original").mkdir()
    (folder / "original/params.json").write_text("{}")
    return folder


def test_the_digest_of_a_plain_folder_is_what_it_was(folder: Path) -> None:
    """Stores hold keys that are made of it."""
    contents = {
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors": b"weights",
        "original/params.json": b"{}",
    }
    contents |= {"tokenizer.json": b"{}"}
    files = {name: sha256(data) for name, data in contents.items()}
    assert folder_digest(folder) == (digest(files), files)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    files[INDEX] = sha256((folder / INDEX).read_bytes())
    assert folder_digest(folder) == (digest(files), files)


@pytest.mark.parametrize(
    ("source", "content", "name"),
    [
        (INDEX, {"weight_map": {"a": "_weights/model.safetensors"}}, "_weights/model.safetensors"),
        (INDEX, {"weight_map": {"a": ".cache/model.safetensors"}}, ".cache/model.safetensors"),
        ("model.safetensors.index.fp16.json", {"weight_map": {"a": ".x"}}, ".x"),
        ("config.json", {"transformers_weights": "_hidden.safetensors"}, "_hidden.safetensors"),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["_t/tokenizer.5.0.0.json"]}, "_t/tokenizer.5.0.0.json"),
        ("config.json", {}, "_more.safetensors"),  # vLLM takes whatever ends so
        ("config.json", {}, ".more.bin"),
    ],
)
def test_hidden_files_that_are_loaded_are_in_the_digest(folder: Path, source: str, content: object, name: str) -> None:
    (folder / source).write_text(json.dumps(content))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"one")
    before = folder_digest(folder)
    assert before[1][name] == sha256(b"one")
    (folder / name).write_bytes(b"another")
    assert folder_digest(folder)[0] != before[0]


def test_an_index_that_a_config_names_is_followed_too(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"transformers_weights": "a/x.safetensors.index.json"}))
    (folder / "a").mkdir()
    (folder / "_w").mkdir()
    (folder / "_w/model.safetensors").write_bytes(b"hidden")
    index = folder / "a/x.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "_w/model.safetensors"}}))
    assert folder_digest(folder)[1]["_w/model.safetensors"] == sha256(b"hidden")
    for name in ("/etc/passwd", "../model/_w/x", 7):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(StoreError, match="which is not a file of its folder"):
            folder_digest(folder)


@pytest.mark.parametrize(
    "name", ["../other/model.safetensors", "/etc/passwd", "a/../../x", "..\\x", "a\0b", "", 7, None, ["x"], {"a": 1}]
)
@pytest.mark.parametrize("source", [INDEX, "config.json"])
def test_names_that_leave_the_folder_are_refused(folder: Path, name: object, source: str) -> None:
    if source == INDEX:
        (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name, "b": "model.safetensors"}}))
    else:
        (folder / source).write_text(json.dumps({"transformers_weights": name}))
    if name is None:  # as if there were none
        assert folder_digest(folder)[1]["model.safetensors"] == sha256(b"weights")
        return
    with pytest.raises(StoreError, match="which is not a file of its folder"):
        folder_digest(folder)


def test_links_to_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/model.safetensors").write_bytes(b"others")
    (folder / "_linked").symlink_to(tmp_path / "elsewhere")
    assert "_linked/model.safetensors" not in folder_digest(folder)[1]  # nothing loads it
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "_linked/model.safetensors"}}))
    with pytest.raises(StoreError, match="behind a link to a folder"):
        folder_digest(folder)
    (folder / INDEX).unlink()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="linked is a link to a folder"):
        folder_digest(folder)


def test_an_adapter_is_no_model(folder: Path) -> None:
    """Its base model is named in it, and lies elsewhere."""
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    with pytest.raises(StoreError, match="an adapter"):
        folder_digest(folder)


def test_a_stages_folder_leads_to_the_model_that_counts(tmp_path: Path, folder: Path) -> None:
    store = Store(tmp_path / "store")
    publish_model(store, "prm", "a" * 64, b"weights", tmp_path / "built")
    [published] = (tmp_path / "store/models").iterdir()
    [inner] = (path for path in published.iterdir() if path.is_dir())
    (inner / "tokenizer.json").write_text("{}")
    found = model_checks.model_folder("--prm", published)
    assert found is not None
    assert found.path == str(inner)
    assert model_checks.model_folder("--prm", folder).path == str(folder)  # type: ignore[union-attr]
