"""What is refused of a verifier's folder before its weights are read, and adapters."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from components.verifiers.folder_checks import verifier_kind
from components.verifiers.style import BUILTIN, read_style
from components.verifiers.tokenizer_checks import open_checked_tokenizer
from components.verifiers.verifier import Verifier
from tests.verifiers.style_models import PUBLISHED, change_config, refusal, solutions, tiny, write_model
from tests.verifiers.vocabularies import LLAMA_TEMPLATE, llama_tokenizer, package_file, qwen_tokenizer

# Folder → the styles that cannot tell it from their own: of the same class, with the tokens that they read.
_LLAMA = {"rlhflow", "rlhflow_mistral", "rlhflow_orm", "versaprm"}
_QWEN = {"versaprm", "math_psa", "implicit_prm", "implicit_prm_min"}
ALIKE: dict[str, set[str]] = {
    "trl": {"trl", "trl_blank_line", "pure"},
    "qwen_prm": {"qwen_prm"},
    "rlhflow": _LLAMA,
    "math_psa": _QWEN,
    "math_shepherd": {"math_shepherd"},
    "reason_eval_7b": {"reason_eval_7b"},
    "reason_eval_34b": {"reason_eval_34b"},
    "skywork_o1": {"skywork_o1"},
    "qwen_rm": {"qwen_rm"},
    "skywork_reward": {"skywork_reward", "sequence_classification"},
    "acemath_rm": {"acemath_rm", "sequence_classification"},
    "armorm": {"armorm"},
}


def test_every_style_is_in_the_matrix() -> None:
    assert set(ALIKE) == set(PUBLISHED)
    assert set().union(*ALIKE.values()) == set(BUILTIN)


@pytest.mark.parametrize("name", ALIKE)
def test_models_of_other_styles_are_refused(name: str, folders: dict[str, Path]) -> None:
    for style in BUILTIN:
        more = {"reference": folders[name]} if read_style(style).needs_reference else {}
        said = refusal(style, folders[name], **more)
        assert (said == "") == (style in ALIKE[name]), f"{style}: {said}"
        if said:
            assert str(folders[name]) in said


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["correct", "incorrect"], 'id2label says 0 is "correct"; in the style trl it is negative'),
        (["LABEL_0", "Wrong"], 'id2label says 1 is "wrong"; in the style trl it is positive'),
        (["+", "-"], 'id2label says 0 is "+"'),
        (["a", "b", "c"], "has 3 labels; the style trl has 2: negative, positive"),
        (["incorrect", "correct"], ""),
        (["LABEL_0", "LABEL_1"], ""),
    ],
)
def test_labels_that_say_another_order_are_refused(
    labels: list[str], message: str, copy: Callable[[str], Path]
) -> None:
    folder = copy("trl")
    change_config(folder, id2label={str(index): label for index, label in enumerate(labels)})
    said = refusal("trl", folder)
    assert message in said
    assert bool(said) == bool(message)


def test_weights_that_are_not_whole_are_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("qwen_prm")
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for data in (b"", whole[:5], whole[:200], whole[:-1], whole + b"x", b"\xff" * 300):
        path.write_bytes(data)
        assert str(path) in refusal("qwen_prm", folder)
    weights = load_file(copy("trl") / "model.safetensors")
    path.unlink()
    assert "has no weights that can be read" in refusal("qwen_prm", folder)
    index = folder / "model.safetensors.index.json"
    index.write_text("{}")
    assert "is not an index" in refusal("qwen_prm", folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(weights, "model-1.safetensors")}))
    assert "names model-1.safetensors, which is not there" in refusal("qwen_prm", folder)
    weights.pop("score.bias")
    save_file(weights, folder / "model-1.safetensors")
    assert "names score.bias, which no file holds" in refusal("qwen_prm", folder)


def test_a_head_that_is_missing_or_of_another_shape_is_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("skywork_o1")
    path = folder / "model.safetensors"
    weights = load_file(path)
    for changes, message in [
        ({"v_head.summary.weight": torch.zeros(2, 32)}, "has shape (2, 32); the style skywork_o1 has 1 outputs"),
        ({"v_head.summary.bias": None}, "the style skywork_o1 has a v_head.summary.bias"),
        ({"v_head.summary.weight": None}, "lacks weights of the style skywork_o1: v_head.summary.weight"),
    ]:
        changed: dict[str, Any] = weights | changes
        save_file({name: value for name, value in changed.items() if value is not None}, path)
        assert message in refusal("skywork_o1", folder)
    save_file(weights | {"model.norm.weight": torch.ones(9)}, path)  # what headers do not tell, opening does
    with pytest.raises(ValueError, match=r"in other shapes: .*norm.weight"):
        Verifier(folder, "skywork_o1")


def test_templates_and_tokens_that_a_style_lacks_are_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("rlhflow")
    marks_the_last = LLAMA_TEMPLATE.replace("['role'] +", "['role'] + (' now' if loop.revindex < 3 else '') +")
    ends_in_two = LLAMA_TEMPLATE.replace("<|eot_id|>' }}{%- endfor", "<|eot_id|>\n' }}{%- endfor")
    for template, message in [
        (None, "no chat template"),
        (marks_the_last, "no single pass"),
        (ends_in_two, "does not end in + and one closing"),
        ("{{ raise_exception('only in pairs') }}", "no tokenizer of the style rlhflow: only in pairs"),
    ]:
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        llama_tokenizer(template).save_pretrained(folder)
        assert message in refusal("rlhflow", folder)
    folder = copy("qwen_prm")
    qwen_tokenizer(tag="<extra_1>").save_pretrained(folder)
    assert "'<extra_0>' is not one known token" in refusal("qwen_prm", folder)


def test_soft_caps_and_attention_that_looks_ahead_are_refused(copy: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy("acemath_rm")
    change_config(folder, attn_logit_softcapping=50.0)
    assert "attn_logit_softcapping" in refusal("acemath_rm", folder)
    tokenizer = qwen_tokenizer(small=True)
    bert = tiny(transformers.BertForTokenClassification, transformers.BertConfig, tokenizer, num_labels=2)
    write_model(tmp_path / "bert", bert.config, tokenizer, bert.state_dict(), "BertForTokenClassification")
    with pytest.raises(ValueError, match="attention looks ahead"):
        Verifier(tmp_path / "bert", "trl")


def test_a_byte_level_tokenizer_that_is_rebuilt_is_refused_with_its_mend(copy: Callable[[str], Path]) -> None:
    """DeepSeek's family: tokenizer_class LlamaTokenizerFast over byte-level BPE, which Transformers 5 rebuilds."""
    folder = copy("trl")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"tokenizer_class": "LlamaTokenizerFast"}))
    change_config(folder, model_type="llama", architectures=["LlamaForTokenClassification"])
    said = refusal("trl", folder)
    assert "mean 'Whatistwoplusthree?'" in said or "its ids of" in said
    assert "must be PreTrainedTokenizerFast" in said
    path.write_text(json.dumps(config | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    assert refusal("trl", folder) == ""


def sentencepiece_folder(folder: Path, **more: Any) -> Any:
    """A folder with Mistral's SentencePiece file alone, as math-shepherd-mistral-7b-prm has it; return its pieces."""
    processor = pytest.importorskip("sentencepiece", reason="SentencePiece is not installed").SentencePieceProcessor
    file = package_file("mistral_common", "data/tokenizer.model.v1")
    if file is None:
        pytest.skip("mistral-common, which holds Mistral's first vocabulary, is not installed")
    folder.mkdir(exist_ok=True)
    shutil.copy(file, folder / "tokenizer.model")
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens | {"tokenizer_class": "LlamaTokenizer"} | more))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return processor(model_file=str(file))


@pytest.mark.parametrize("more", [{"legacy": True}, {"legacy": False}, {}], ids=["legacy", "not legacy", "unsaid"])
def test_ids_of_a_sentencepiece_file_are_its_own(tmp_path: Path, more: dict[str, Any]) -> None:
    pieces = sentencepiece_folder(tmp_path, **more)
    tokenizer = open_checked_tokenizer(read_style("math_shepherd"), tmp_path)
    texts = [f"{problem} " + "\n".join(steps) for problem, steps in solutions()]
    texts += ["a  b", "a   b    c     d", "x\n    y\n        z", "\t\tx", "é—²³ 日本", "So  x  =  5 ки\nStep 2:   y ки"]
    texts += [] if more == {"legacy": False} else ["  a", "    blah", "     "]
    for text in texts:
        assert tokenizer.encode(text, add_special_tokens=False) == pieces.encode(text)
    assert tokenizer.encode("+ -") == [1, 648, 387]
    assert tokenizer.encode("x ки")[-1] == 12902


def test_ids_that_are_not_sentencepiece_s_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.models import model_folder

    sentencepiece_folder(tmp_path)
    monkeypatch.setattr(model_folder, "_merge_as_sentencepiece", lambda tokenizer, path: None)
    with pytest.raises(ValueError, match=r"are not those of tokenizer.model; write tokenizer.json with Transformers 4"):
        open_checked_tokenizer(read_style("math_shepherd"), tmp_path)


def test_a_reference_model_is_needed_and_has_the_same_tokens(folders: dict[str, Path], tmp_path: Path) -> None:
    assert "needs a reference model: give its folder" in refusal("implicit_prm", folders["math_psa"])
    assert "has no reference model" in refusal("versaprm", folders["math_psa"], reference=folders["math_psa"])
    assert "another tokenizer" in refusal("implicit_prm", folders["math_psa"], reference=folders["rlhflow"]) or (
        "knows" in refusal("implicit_prm", folders["math_psa"], reference=folders["rlhflow"])
    )


def test_checks_need_no_torch(folders: dict[str, Path]) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from components.verifiers.folder_checks import check_verifier_folder\n"
        "check_verifier_folder(sys.argv[1], Path(sys.argv[2]))\n"
    )
    for name in ("trl", "rlhflow"):
        command = [sys.executable, "-c", code, name, str(folders[name])]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_kind_of_a_verifier(folders: dict[str, Path]) -> None:
    assert verifier_kind("qwen_rm", folders["qwen_rm"]) == "outcome"
    assert verifier_kind("trl", folders["trl"]) == "process"
