"""Verifiers on a command line: what each word makes, and what is refused in one line before any work."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from components.dataflow.errors import InputError
from components.dataflow.stage import recipe
from components.training.stages import _token_classifier
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY
from flows.command_line.verifier_specs import verifier_specs
from flows.study import VerifierSpec
from tests.verifiers.style_models import make


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A generator, and an ORM and a PRM of its weights, all tiny."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = build_tokenizer(VOCABULARY)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=16, max_position_embeddings=64, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(root / "generator")
    tokenizer.save_pretrained(root / "generator")
    for kind in ("orm", "prm"):
        _token_classifier(kind, root / "generator", tokenizer).save_pretrained(root / kind)
        tokenizer.save_pretrained(root / kind)
    return {name: root / name for name in ("generator", "orm", "prm")}


def specs(*texts: str, given: tuple[str, ...] = (), **of_endpoints: Any) -> list[VerifierSpec]:
    none = dict.fromkeys(("key_variable", "requests_at_once", "max_requests", "max_tokens_total"))
    return verifier_specs(Namespace(verifier=texts, **none | of_endpoints), given)


def test_models_trained_here_say_themselves_whether_they_rate_steps(folders: dict[str, Path]) -> None:
    orm, prm = specs(f"a={folders['orm']}", f"b={folders['prm']}")
    assert (orm.rates_steps, prm.rates_steps) == (False, True)
    assert (orm.compared.table, prm.compared.table) == ("scores_0", "scores_1")
    assert prm.compared.column == "score"
    [other] = specs(f"b={folders['prm']},reduction=min,neutral=negative")
    assert (other.compared.reduction, other.compared.neutral, other.compared.column) == ("min", "negative", "")
    assert other.stage is not None
    assert prm.stage is not None
    assert recipe(other.stage) == recipe(prm.stage), "another reduction, or name, reads no solution anew"


def test_a_log_ratio_of_all_tokens_so_far_calls_no_step_wrong(tmp_path: Path) -> None:
    make("implicit_prm", tmp_path / "model")
    [spec] = specs(f"a={tmp_path / 'model'},style=implicit_prm,reference={tmp_path / 'model'}")
    assert not spec.rates_steps


def test_a_judge_may_be_of_more_kinds_than_confidence_reads(folders: dict[str, Path], tmp_path: Path) -> None:
    """An engine computes what packed attention does not."""
    shutil.copytree(folders["generator"], tmp_path / "capped")
    config = json.loads((tmp_path / "capped/config.json").read_text())
    (tmp_path / "capped/config.json").write_text(json.dumps(config | {"final_logit_softcapping": 30.0}))
    assert specs(f"a=judge:{tmp_path / 'capped'}")
    with pytest.raises(InputError, match="final_logit_softcapping"):
        specs(f"a=confidence:{tmp_path / 'capped'}")


def test_what_needs_no_training(folders: dict[str, Path]) -> None:
    sure, short, guess, safe = specs(
        f"sure=confidence:{folders['generator']},measure=tail_confidence,window=8",
        "short=length",
        "guess=random",
        "safe=min(sure, short) - 0.5 * old",
        given=("old",),
    )
    assert sure.stage is not None
    assert (sure.stage.name, sure.compared.column) == ("confidence_scores", "tail_confidence")
    assert (short.is_floor, guess.is_floor, sure.is_floor, safe.is_floor) == (True, True, False, False)
    assert safe.stage is None
    assert safe.compared.expression == "min(sure, short) - 0.5 * old"


def test_folders_with_signs_in_their_names_and_long_expressions(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folders["generator"], "a+b")
    [sure] = specs("sure=confidence:a+b,window=4")
    assert sure.stage is not None
    make("qwen_prm", tmp_path / "Qwen+PRM")
    [prm] = specs("q=Qwen+PRM,style=qwen_prm")
    assert prm.rates_steps
    names = [f"verifier_number_{number:02}" for number in range(14)]
    [mean] = specs(f"all=mean({', '.join(names)})", given=names)
    assert mean.compared.expression.startswith("mean(verifier_number_00")
    [difference] = specs("d=a-b", given=("a", "b"))
    assert difference.compared.expression == "a-b"


def test_a_judge_has_votes_that_grow(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("{problem}\n{steps}")
    text = f"j=judge:{folders['generator']},prompt={tmp_path / 'prompt.txt'},max_tokens=20,max_model_length=64"
    [few], [many] = specs(f"{text},votes=4"), specs(f"{text},votes=12")
    assert few.stage is not None
    assert many.stage is not None
    assert recipe(few.stage) == recipe(many.stage)
    assert few.reduced is not None
    assert few.rates_steps


def test_a_judge_behind_an_address_is_asked_as_the_command_line_says() -> None:
    [few] = specs("j=judge:http://h/v1#org/m,votes=6,temperature=0.7,max_tokens=20", max_requests=9, key_variable="K")
    [many] = specs("j=judge:http://other:1/v1#org/m,votes=12,temperature=0.7,max_tokens=20")
    assert few.stage is not None
    assert many.stage is not None
    assert recipe(few.stage) == recipe(many.stage), "neither address nor votes are in the key"
    asked: Any = few.stage.config
    assert (asked.votes, asked.judge.model, asked.judge.temperature, asked.judge.max_tokens) == (6, "org/m", 0.7, 20)
    assert (few.stage.title, few.stage.place, few.rates_steps) == ("j_votes", "endpoints", True)
    assert few.access is not None
    assert (few.access.max_requests, few.access.key_variable, few.access.at_once) == (9, "K", 32)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a=judge:http://h/v1", "it has no model"),
        ("a=judge:http://h/v1#m,dtype=bfloat16", r"no option dtype of such a verifier \(it has prompt, votes"),
        ("a=judge:http://h/v1#m,temperature=0", "are one vote"),
        ("prm", "write NAME=SOURCE"),
        ("=x", "write NAME=SOURCE"),
        ("length", "write NAME=SOURCE, as length=length"),
        ("a b=x", "write NAME=SOURCE"),
        ("majority=length", "the name of a vote"),
        ("x_weighted=length", "the name of a vote"),
        ("old=length", "there is another verifier old"),
        ("prm_judge=length", "the name of a verifier of studies"),
        ("a=min(old, new)", "there is no verifier 'new'"),
        ("a=min(old", "is no expression"),
        ("a=length,style=trl", "no option style of such a verifier"),
        ("a=/no/model", "--verifier a /no/model: no model is there"),
        ("a={prm},stlye=trl", "no option stlye of such a verifier .*did you mean style"),
        ("a={prm},style=none", "style 'none': one of"),
        ("a={prm},style=trl", "PRM|labels|separator|classes|stepverify"),
        ("a={prm},dtype=int8", "dtype int8: one of"),
        ("a={prm},reduction=sum", "reduction sum: one of"),
        ("a={prm},neutral=negative", "neutral goes with reduction"),
        ("a={prm},style=", "style has no value"),
        ("a={prm},dtype=float32,dtype=bfloat16", "dtype is given twice"),
        ("a={orm},reduction=min", "nothing to reduce"),
        ("a={prm},base={prm}", "neither base nor reference"),
        ("a=confidence:{generator},measure=x", "measure x: one of"),
        ("a=confidence:{generator},window=x", "window x: not a whole number"),
        ("a=confidence:{generator},window=0", "greater than 0"),
        ("a=judge:{generator},votes=x", "votes x: not a number"),
        ("a=judge:{generator},temperature=0", "are one vote"),
        ("a=judge:{generator},prompt=/no/file", "/no/file: No such file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folders: dict[str, Path], text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        specs(text.format(**folders), given=("old",))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("--verifier ")
