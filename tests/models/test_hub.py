"""Models by their name on a hub: real hub code against a small server of its interface, with cold and warm caches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from components.dataflow.model_files import folder_digest
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY
from tests.models.hub_server import HubServer, hub_server

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
_ASK = """
import sys
from components.models.hub import hub_model
try:
    model = hub_model(sys.argv[1], cached="cached" in sys.argv[2])
    print(model.is_confirmed if "confirmed" in sys.argv[2] else model.folder)
except ValueError as error:
    print("refused", error)
except AttributeError:
    print("not cached")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in a folder, with the same weights as a pickle, which nobody fetches."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(VOCABULARY)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text("A model card.\n")
    return folder


@pytest.fixture
def hub(folder: Path) -> Iterator[HubServer]:
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with hub_server({"org/model": (COMMIT, folder), "org/gated": (COMMIT, folder)}, gated=("org/gated",)) as server:
        yield server
    (folder / "pytorch_model.bin").unlink()


def environment(hub: HubServer, home: Path, **more: str) -> dict[str, str]:
    return os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "HF_TOKEN": ""} | more


def ask(hub: HubServer, home: Path, source: str, how: str = "", **more: str) -> str:
    command = [sys.executable, "-c", _ASK, source, how]
    done = subprocess.run(command, env=environment(hub, home, **more), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_name_gives_the_same_digest_as_the_folder(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    found = Path(ask(hub, tmp_path, "hub:org/model"))
    assert found.name == COMMIT
    assert not any("pytorch_model.bin" in request for request in hub.requests)
    (folder / "pytorch_model.bin").unlink()  # as in a folder of the files that were fetched
    assert folder_digest(found) == folder_digest(folder)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    for source in (f"hub:org/model@{COMMIT}", "hub:org/model@main"):
        assert Path(ask(hub, tmp_path, source)) == found


def test_what_else_the_cache_has_of_a_model_changes_no_digest(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    """As after `hf download`, which fetches the other forms of the weights too."""
    cold = folder_digest(Path(ask(hub, tmp_path, "hub:org/model")))
    snapshot = Path(ask(hub, tmp_path, "hub:org/model"))
    (snapshot / "pytorch_model.bin").write_bytes(b"a pickle")
    (snapshot / "onnx").mkdir()
    (snapshot / "onnx/model.onnx").write_bytes(b"a graph")
    for _ in range(2):
        found = Path(ask(hub, tmp_path, "hub:org/model"))
        assert found.name == COMMIT
        assert folder_digest(found) == cold
        assert not list(found.rglob("*.onnx"))
    assert ask(hub, tmp_path, "hub:org/model", "cached") == str(found)


def test_a_cache_that_cannot_be_written_to_is_read_all_the_same(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    """As one that a team shares: what is linked lies in the user's own folder."""
    cold = folder_digest(Path(ask(hub, tmp_path, "hub:org/model")))
    snapshot = Path(ask(hub, tmp_path, "hub:org/model"))
    (snapshot / "pytorch_model.bin").write_bytes(b"a pickle")
    (snapshot.parents[1] / "stepverify").write_text("where links would be")  # root may write in any folder
    found = Path(ask(hub, tmp_path, "hub:org/model", XDG_CACHE_HOME=str(tmp_path / "own")))
    assert found.is_relative_to(tmp_path / "own/stepverify/hub")
    assert (found.name, folder_digest(found)) == (COMMIT, cold)


def test_a_warm_cache_fetches_no_file_and_needs_no_hub(hub: HubServer, tmp_path: Path) -> None:
    assert ask(hub, tmp_path, "hub:org/model", "cached") == "not cached"
    found = ask(hub, tmp_path, "hub:org/model")
    del hub.requests[:]
    assert ask(hub, tmp_path, "hub:org/model") == found
    assert not [request for request in hub.requests if "/resolve/" in request]
    del hub.requests[:]
    assert ask(hub, tmp_path, "hub:org/model", HF_HUB_OFFLINE="1") == found
    assert ask(hub, tmp_path, "hub:org/model", "cached") == found
    assert not hub.requests
    hub.server_close()  # nobody answers
    assert ask(hub, tmp_path, "hub:org/model", HF_ENDPOINT="http://127.0.0.1:9") == found


@pytest.mark.parametrize(
    ("source", "more", "words"),
    [
        ("hub:org/nothing", {}, "has no model org/nothing, or it is private"),
        ("hub:org/model@v9", {}, "org/model has no revision v9"),
        ("hub:org/gated", {}, "its terms have to be accepted at"),
        ("hub:org/model", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, and it is not in the cache"),
        ("hub:org/model", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9 does not answer, and it is not"),
        ("hub:org/model/more", {}, "write hub:ORG/NAME or hub:ORG/NAME@REVISION"),
        ("hub:", {}, "write hub:ORG/NAME or hub:ORG/NAME@REVISION"),
        ("hub:org/mo--del", {}, "no name of a model on a hub"),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line(
    hub: HubServer, tmp_path: Path, source: str, more: dict[str, str], words: str
) -> None:
    said = ask(hub, tmp_path, source, **more)
    assert said.startswith(f"refused {source}: ")
    assert words in said
    assert "\n" not in said


def test_a_commit_that_the_hub_does_not_confirm_is_told(hub: HubServer, tmp_path: Path) -> None:
    """A branch moves: the cache's commit may be an old one."""
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    ask(hub, tmp_path, "hub:org/model")
    for source, what, more, is_confirmed in (
        ("hub:org/model", "confirmed", {}, True),
        ("hub:org/model@main", "confirmed", {}, True),
        ("hub:org/model", "confirmed", nobody, False),
        ("hub:org/model", "confirmed", {"HF_HUB_OFFLINE": "1"}, False),
        ("hub:org/model", "confirmed, cached", {}, False),
        (f"hub:org/model@{COMMIT}", "confirmed", nobody, True),
    ):
        assert ask(hub, tmp_path, source, what, **more) == str(is_confirmed), (source, what, more)


def test_a_part_of_a_model_in_the_cache_is_no_model(hub: HubServer, tmp_path: Path) -> None:
    found = Path(ask(hub, tmp_path, "hub:org/model"))
    (found / "model.safetensors").unlink()
    assert ask(hub, tmp_path, "hub:org/model", "cached") == "not cached"
    said = ask(hub, tmp_path, "hub:org/model", HF_HUB_OFFLINE="1")
    assert "only a part of it is in the cache" in said
    assert (Path(ask(hub, tmp_path, "hub:org/model")) / "model.safetensors").is_file()


def test_a_plan_fetches_nothing_and_a_cached_name_has_the_folders_key(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    for split, first in (("train", 0), ("test", 50)):
        rows = [{"problem": f"What is {n} + {3 * n}?", "answer": str(4 * n)} for n in range(first, first + 20)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def plan(model: str, home: Path) -> list[str]:
        files = [f"--{split}-problems={tmp_path / split}.jsonl" for split in ("train", "test")]
        command = [sys.executable, str(ROOT / "flows/full_study.py"), "plan", "--root", str(tmp_path / "store"), *files]
        done = subprocess.run(
            [*command, "--base-model", model], env=environment(hub, home), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    del hub.requests[:]
    said = "\n".join(plan("hub:org/model", tmp_path / "cold"))
    assert "--base-model hub:org/model is not on this machine, and a plan fetches nothing" in said
    assert not hub.requests
    warm = tmp_path / "warm"
    shutil.copytree(Path(ask(hub, warm, "hub:org/model")), tmp_path / "copy")
    named, by_folder = plan("hub:org/model", warm), plan(str(tmp_path / "copy"), warm)
    by_cache = " by the hub's cache: the hub was not asked, or did not answer"
    assert f"note: --base-model hub:org/model is commit {COMMIT}{by_cache}" in named
    assert [line for line in named if not line.startswith("note: --base-model")] == by_folder
