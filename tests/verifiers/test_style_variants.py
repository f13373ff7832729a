"""What styles meet besides their usual folders: other vocabularies, heads of other architectures, texts, and ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers as t

from components.labels.prm_labels import LabelByPrm, VerifierLabelsConfig
from components.statistics.score_reduction import solution_score
from components.text.rendering import CONVENTION
from components.verifiers import style as styles
from components.verifiers.scoring import Score, ScoringConfig
from components.verifiers.style import read_style
from components.verifiers.verifier import Reading, Verifier
from schemas.tables import SOLUTIONS
from tests.verifiers.style_models import make, solutions, tiny, write_model
from tests.verifiers.test_styles import READINGS, read_rlhflow_orm
from tests.verifiers.vocabularies import llama_tokenizer, qwen_tokenizer

ROWS = solutions()[:20]


def read(verifier: Verifier, **more: Any) -> list[Reading]:
    given = [{"problem": p, "steps": s, "finish_reason": "stop", **more} for p, s in ROWS]
    found = verifier.read(given)
    assert all(isinstance(one, Reading) for one in found)
    return [one for one in found if isinstance(one, Reading)]


@pytest.mark.parametrize(
    ("style", "kind", "config_class", "changes"),
    [
        ("versaprm", t.Qwen2ForCausalLM, t.Qwen2Config, {}),
        ("trl", t.LlamaForTokenClassification, t.LlamaConfig, {"num_labels": 2}),
        ("trl", t.GPTNeoXForTokenClassification, t.GPTNeoXConfig, {"num_labels": 2}),  # its head is `classifier`
        ("rlhflow", t.LlamaForCausalLM, t.LlamaConfig, {"tie_word_embeddings": True}),
        ("rlhflow", t.PhiForCausalLM, t.PhiConfig, {}),  # its output embedding has a bias
    ],
)
def test_other_vocabularies_and_heads(
    style: str, kind: Any, config_class: Any, changes: dict[str, Any], tmp_path: Path
) -> None:
    qwen = config_class is t.Qwen2Config
    tokenizer = qwen_tokenizer(small=True) if qwen else llama_tokenizer(small=True)
    model = tiny(kind, config_class, tokenizer, **changes)
    if style == "rlhflow" and getattr(model.lm_head, "bias", None) is not None:
        torch.nn.init.normal_(model.lm_head.bias)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with torch.inference_mode():
        for reading, row in zip(read(Verifier(tmp_path, style)), ROWS, strict=True):
            expected = (
                begun(model, tokenizer, *row)
                if "trl" in style and not qwen
                else READINGS[style](model, tokenizer, *row)
            )
            assert reading.step_probabilities is not None
            np.testing.assert_allclose(reading.step_probabilities[:, 2], expected[0], atol=1e-5)
            assert reading.score == pytest.approx(expected[1], abs=1e-5)


def begun(model: Any, tokenizer: Any, problem: str, steps: list[str]) -> tuple[list[float], float]:
    """TRL's row where the tokenizer has a begin-of-text token."""
    ids, ends = [tokenizer.bos_token_id, *tokenizer.encode(problem, add_special_tokens=False)], []
    for step in steps:
        ids += tokenizer.encode(step, add_special_tokens=False) + tokenizer.encode("\n", add_special_tokens=False)
        ends.append(len(ids) - 1)
    right = model(torch.tensor([ids])).logits[0, ends].softmax(-1)[:, 1].tolist()
    return right, float(np.prod(right))


def test_an_implicit_prm_whose_weights_have_no_prefix(tmp_path: Path) -> None:
    """As a folder of EurusPRM-Stage2 says that it holds a Qwen2Model."""
    model, tokenizer = make("implicit_prm_min", tmp_path / "usual")
    weights = {name.removeprefix("model."): value for name, value in model.state_dict().items()}
    write_model(tmp_path / "bare", model.config, tokenizer, weights, "Qwen2Model")
    other = tiny(type(model), type(model.config), tokenizer, seed=5)
    write_model(tmp_path / "reference", other.config, tokenizer, other.state_dict(), "Qwen2ForCausalLM")
    usual, bare = (
        read(Verifier(tmp_path / name, "implicit_prm", reference=tmp_path / "reference")) for name in ("usual", "bare")
    )
    assert [one.score for one in usual] == pytest.approx([one.score for one in bare], abs=1e-6)
    weights.pop("lm_head.weight")
    write_model(tmp_path / "bare", model.config, tokenizer, weights, "Qwen2Model")
    with pytest.raises(ValueError, match=r"lacks weights of a language model: lm_head.weight"):
        Verifier(tmp_path / "bare", "implicit_prm", reference=tmp_path / "reference")


def test_an_outcome_style_reads_the_text_where_there_is_one(tmp_path: Path) -> None:
    model, tokenizer = make("rlhflow_orm", tmp_path)
    verifier = Verifier(tmp_path, "rlhflow_orm")
    with torch.inference_mode():
        expected = read_rlhflow_orm(model, tokenizer, ROWS[0][0], ["A text.\n\nOf its own \n"])[1]
    assert read(verifier, text="A text.\n\nOf its own \n")[0].score == pytest.approx(expected, abs=1e-5)
    by_steps = read(verifier)
    assert [one.score for one in read(verifier, text="")] == [one.score for one in by_steps]
    assert by_steps[0].score != pytest.approx(expected, abs=1e-3)
    with pytest.raises(ValueError, match="rlhflow_orm scores whole solutions"):
        verifier.step_probabilities([])


def test_what_cannot_be_read_is_said_in_its_place(tmp_path: Path) -> None:
    make("qwen_prm", tmp_path)
    rows = [{"problem": "1?", "steps": steps, "finish_reason": "stop"} for steps in (["1"], ["<extra_0>"], [], ["2"])]
    found = Verifier(tmp_path, "qwen_prm").read(rows)
    assert [type(one) for one in found] == [Reading, str, str, Reading]
    assert "step 1 holds the control token" in str(found[1])


@pytest.mark.parametrize(("kind", "labels"), [("orm", 2), ("prm", 3)])
def test_models_trained_here_are_read_by_what_their_config_says(kind: str, labels: int, tmp_path: Path) -> None:
    tokenizer = qwen_tokenizer(small=True)
    model = tiny(t.Qwen2ForTokenClassification, t.Qwen2Config, tokenizer, num_labels=labels)
    model.config.stepverify = {**CONVENTION, "kind": kind}
    write_model(tmp_path, model.config, tokenizer, model.state_dict(), "Qwen2ForTokenClassification")
    verifier = Verifier(tmp_path)
    rows = [{"problem": p, "steps": s, "finish_reason": "stop"} for p, s in ROWS]
    for reading, values in zip(read(verifier), verifier.step_probabilities(rows), strict=True):
        assert not isinstance(values, str)
        if kind == "orm":
            assert (reading.step_probabilities, reading.score) == (None, float(values[-1, 1]))
        else:
            np.testing.assert_array_equal(np.asarray(reading.step_probabilities), values)
            assert reading.score == solution_score(values, "product", "positive")
    config = json.loads((tmp_path / "config.json").read_text())
    config["stepverify"]["kind"] = "orm" if kind == "prm" else "prm"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="other labels than that kind's"):
        Verifier(tmp_path)


def test_stages_read_a_style_of_ones_own(tmp_path: Path) -> None:
    """One that reads the other separator, in place of the style that the name says."""
    make("trl", tmp_path)
    row = {"problem_id": "1", "sample_index": 0, "split": "test", "problem": "1 + 1?", "ground_truth_answer": "2"}
    row |= {
        "text": "It is 2.",
        "steps": ["It is", "2."],
        "num_tokens": 1,
        "seed": 0,
        "finish_reason": "stop",
        "error": None,
    }
    table = pa.Table.from_pylist([row], schema=SOLUTIONS)
    expected = Verifier(tmp_path, "trl_blank_line").step_probabilities([row])[0]
    style = read_style("trl_blank_line")
    scored = Score(ScoringConfig(prm_style="mine", style=style), {"prm": tmp_path})(table, {}).to_pylist()
    np.testing.assert_array_equal(scored[0]["step_probabilities"], expected)
    labelled = LabelByPrm(VerifierLabelsConfig(prm_style="mine", style=style), {"prm": tmp_path})(table, {}).to_pylist()
    assert labelled[0]["provenance"][0] == f"P(negative) {float(expected[0][0]):.4f}"


def test_a_softmax_over_the_whole_vocabulary(tmp_path: Path) -> None:
    model, tokenizer = make("versaprm", tmp_path)
    path = tmp_path / "mine.toml"
    text = (Path(styles.__file__).parent / "styles/versaprm.toml").read_text(encoding="utf-8")
    path.write_text(text.replace('output = "tokens"', 'output = "tokens"\nsoftmax = "vocabulary"'), encoding="utf-8")
    tag, plus = (tokenizer.encode(one)[-1] for one in (" \n\n\n\n", "+"))
    with torch.inference_mode():
        for reading, (problem, steps) in zip(read(Verifier(tmp_path, str(path))), ROWS, strict=True):
            text = f"{problem.strip()} \n\n" + "".join(f"{step.strip()} \n\n\n\n" for step in steps)
            ids = torch.tensor([tokenizer.encode(text)])
            expected = model(ids).logits[ids == tag].softmax(-1)[:, plus]
            assert reading.step_probabilities is not None
            np.testing.assert_allclose(reading.step_probabilities[:, 2], expected, atol=1e-5)
            np.testing.assert_allclose(reading.step_probabilities[:, 0], 1 - expected, atol=1e-5)
