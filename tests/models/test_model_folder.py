"""Models' folders, which come from anyone: no code of theirs runs, what is no model is refused in a line that names the
file, and a chat template comes to an end."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.dataflow.errors import InputError
from components.dataflow.stage import Model
from components.dataflow.store import Store
from components.evaluation import compute_cost
from components.labels.judge_labels import open_judge
from components.models import chat_template, model_folder
from components.models.chat_template import TemplateTooSlow, apply_chat_template
from components.models.model_folder import open_tokenizer, open_tokenizer_without_torch
from components.sampling.vllm_engine import open_vllm
from components.text.rendering import render_chat_prompts
from flows import step_errors
from flows.command_line import cli, model_checks
from flows.presets.presets import PRESETS
from tests.sampling.test_chat_prompts import TEMPLATE, chat_tokenizer

ROOT = Path(__file__).parents[2]
Printed = pytest.CaptureFixture[str]
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
ONE_OPERATION = "{{ (9 ** 9 ** 8) % 10 }}"  # no instruction of Python's ends before it does


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that passes for a model's until it is opened."""
    chat_tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "model/config.json").write_text("{}")
    (tmp_path / "model/model.safetensors").write_bytes(b"weights")
    return tmp_path / "model"


def with_template(folder: Path, template: str) -> Path:
    (folder / "chat_template.jinja").write_text(template)
    return folder


def test_models_are_opened_in_one_place() -> None:
    """Every call that could run a folder's code, read its pickles or its template is in components/models; vLLM's is in
    engines (its settings: below)."""
    opens = {"from_pretrained", "apply_chat_template", "pipeline", "LLM", "EngineArgs", "AsyncEngineArgs"}
    found = set()
    for path in [path for package in ("components", "flows", "cluster") for path in (ROOT / package).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
            if name in opens and not (isinstance(node, ast.alias) and name == "apply_chat_template"):
                found.add((path.name, name))
    here = "model_folder.py"
    assert found == {(here, "from_pretrained"), ("chat_template.py", "apply_chat_template"), ("vllm_engine.py", "LLM")}
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / "components" / "models" / here).read_text()))
        if isinstance(node, ast.Call)
    ]
    opening = [call for call in calls if ast.unparse(call.func).endswith(".from_pretrained")]
    assert len(opening) == 4
    assert all("_SAFE" in [ast.unparse(word.value) for word in call.keywords] for call in opening)
    assert model_folder._SAFE == {"trust_remote_code": False}


def test_vllm_is_opened_without_code_and_without_pickles(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=lambda **settings: asked.update(settings)))
    open_vllm(folder, PRESETS["smoke"].sampling)
    assert (asked["trust_remote_code"], asked["load_format"]) == (False, "safetensors")


def test_a_folders_code_does_not_run_at_a_terminal_either(folder: Path, tmp_path: Path) -> None:
    about = json.loads((folder / "tokenizer_config.json").read_text())
    about |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    code = (
        "import pathlib, builtins, signal; from transformers import AutoModelForCausalLM;"
        "from components.models.model_folder import open_config, open_model, open_tokenizer\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        "for opens in (open_config, open_tokenizer, lambda folder: open_model(AutoModelForCausalLM, folder)):\n"
        "    try: opens(folder)\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=b"y\ny\ny\n", capture_output=True, cwd=ROOT, check=True)
    assert b"[y/N]" not in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_that_is_saved_again_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """Trained models are saved with their tokenizer, and what is made from them is keyed on their bytes."""
    from transformers import AutoTokenizer

    def saved(tokenizer: Any) -> dict[str, str]:
        to = tmp_path / f"saved-{time.monotonic_ns()}"
        tokenizer.save_pretrained(to)
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in to.iterdir()}

    plain = saved(AutoTokenizer.from_pretrained(folder))
    assert saved(open_tokenizer(folder)) == saved(open_tokenizer_without_torch(folder)) == plain


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        model_checks.model_folder("--base-model", folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("data", [b"{", b"", b"\x80\x02binary", b"[" * 200_000, b"[]", b"3", b"null"])
def test_a_config_that_is_none_is_named(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    assert str(folder / name) in refusal(folder)


@pytest.mark.parametrize(
    ("name", "about", "words"),
    [
        ("config.json", {"dtype": ["float32"]}, 'dtype is ["float32"], not text'),
        ("config.json", {"torch_dtype": 32}, "torch_dtype is 32, not text"),
        ("config.json", {"architectures": "Llama"}, 'architectures is "Llama", not a list'),
        ("config.json", {"max_position_embeddings": "4k"}, "not a whole number"),
        ("config.json", {"sliding_window": True}, "sliding_window is true"),
        ("config.json", {"stepverify": "prm"}, "not an object"),
        ("tokenizer_config.json", {"tokenizer_class": 1}, "tokenizer_class is 1, not text"),
        ("tokenizer_config.json", {"chat_template": 1}, "chat_template is 1, not text or a list"),
    ],
)
def test_a_field_of_another_type_is_named(folder: Path, name: str, about: dict[str, Any], words: str) -> None:
    (folder / name).write_text(json.dumps(about))
    line = refusal(folder)
    assert str(folder / name) in line
    assert words in line


def test_a_plan_with_a_config_that_is_none_is_one_line(folder: Path, tmp_path: Path, capsys: Printed) -> None:
    model = Model(str(folder), "digest", {"model.safetensors": "x", "model.bin": "y"})
    (folder / "model.bin").write_bytes(b"the same once more")
    store = Store(tmp_path / "out")
    assert compute_cost.parameters(store, model) == len(b"weights") / 4
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is not JSON"):
        compute_cost.parameters(store, model)
    assert cli.run(lambda study: None, ["plan", "--base-model", str(folder), "--root", str(tmp_path / "out")], "") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert str(folder / "config.json") in line


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt", "weights.pkl"])
def test_pickles_are_refused_with_what_to_do(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"pickle")
    assert model_checks.model_folder("--base-model", folder) is not None  # beside safetensors they are not read
    (folder / "model.safetensors").unlink()
    line = refusal(folder)
    assert str(folder) in line
    assert "save_pretrained" in line
    (folder / name).unlink()
    assert "it has no weights (*.safetensors)" in refusal(folder)


def test_an_adapter_is_refused_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "holds an adapter without its base model; merge the two with peft" in refusal(tmp_path)


# Chat templates -----------------------------------------------------------------------------------------------------


def test_a_template_that_takes_too_long_ends_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "TEMPLATE_SECONDS", 0.3)
    tokenizer, found = chat_tokenizer(LOOPS), list[object]()

    def render() -> None:
        try:
            found.append(render_chat_prompts(tokenizer, "Do", ["1 + 1?"]))
        except TemplateTooSlow as error:
            found.append(str(error))

    for run in (render, lambda: _joined(threading.Thread(target=render, daemon=True))):
        began = time.monotonic()
        run()
        assert time.monotonic() - began < 5
    assert [str(one).endswith("its chat template took longer than 10 s to render") for one in found] == [True, True]
    assert isinstance(TemplateTooSlow(), OSError)  # which no row is given as its error
    assert render_chat_prompts(chat_tokenizer(), "Do", ["1 + 1?"])


def _joined(thread: threading.Thread) -> None:
    thread.start()
    thread.join(timeout=10)


def test_a_template_that_ends_in_time_is_left_alone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, chat = chat_tokenizer(), [{"role": "user", "content": "1 + 1?"}]
    written = tokenizer.apply_chat_template(chat, tokenize=False)
    began = time.perf_counter()
    tokenizer.apply_chat_template(chat, tokenize=False)
    monkeypatch.setattr(chat_template, "TEMPLATE_SECONDS", 1.2 * (time.perf_counter() - began))
    ended = 0
    for _ in range(300):  # about as long as the limit: neither side may come to harm
        try:
            assert apply_chat_template(tokenizer, chat, tokenize=False) == written
            ended += 1
        except TemplateTooSlow:
            continue
        for _ in range(1000):
            pass
    assert len([thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]) < 50


def test_a_judge_is_refused_before_its_engine_opens(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "TEMPLATE_SECONDS", 0.3)
    monkeypatch.setattr(
        "components.labels.judge_labels.open_engine", lambda *given: pytest.fail("the engine was opened")
    )
    config: Any = SimpleNamespace(sampling=None)
    with pytest.raises(TemplateTooSlow, match=str(folder)):
        open_judge(config, {"judge": with_template(folder, LOOPS)})


@pytest.mark.parametrize(
    ("flag", "template"), [("--base-model", LOOPS), ("--judge", ONE_OPERATION), ("--prm", ONE_OPERATION)]
)
def test_a_template_without_end_is_refused_before_any_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed, flag: str, template: str
) -> None:
    in_half_a_second = (
        "import sys, pathlib; from components.models import chat_template; chat_template.TEMPLATE_SECONDS = 0.5;"
        "chat_template._render_once(pathlib.Path(sys.argv[-1]))"
    )
    real = subprocess.run
    impatient = lambda command, **more: real([command[0], "-c", in_half_a_second, command[-1]], **more)  # noqa: E731
    monkeypatch.setattr(subprocess, "run", impatient)
    with_template(folder, template)
    rows = {"train": {"problem": "1+1?", "answer": "2"}, "test": {"problem": "2+2?", "answer": "4"}}
    rows["rated"] = {"problem": "1 + 1?", "steps": ["1 + 1 = 2"], "label": -1}
    files = {name: tmp_path / f"{name}.jsonl" for name in rows}
    for name, file in files.items():
        file.write_text(json.dumps(rows[name]) + "\n")
    root = ["--root", str(tmp_path / "out")]
    if flag == "--prm":
        argv = [str(files["rated"]), flag, str(folder), "--prm-style", "qwen_prm", *root]
        assert step_errors.main(argv) == 2
    else:
        argv = [
            flag,
            str(folder),
            *root,
            "--train-problems",
            str(files["train"]),
            "--test-problems",
            str(files["test"]),
        ]
        assert cli.run(lambda study: pytest.fail("work would have started"), argv, "") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{flag} {folder}: its chat template took longer than 10 s to render" in line


def test_a_template_is_rendered_in_a_process_of_its_own(folder: Path) -> None:
    assert not chat_template.template_is_too_slow(with_template(folder, TEMPLATE))
    assert not chat_template.template_is_too_slow(with_template(folder, "{{ raise_exception('never') }}"))
