"""Reward models as folders: a stranger who follows the card reads what we read, one at a time or many."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import LlamaForCausalLM, MistralConfig, MistralForTokenClassification

from components.text.rendering import CONVENTION
from components.training import stages
from components.training.config import Architecture, TrainingConfig
from components.training.examples_of_rows import ExampleConfig, make_examples
from components.training.loop import SelectiveLogits, batch_of, optimise
from components.training.model_card import write_card
from components.verifiers.scoring import Score, ScoringConfig
from components.verifiers.verifier import Verifier
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY, WorldConfig, teacher_solutions
from components.worlds.worked_steps import rate_steps
from schemas.tables import SCORES, SOLUTIONS
from tests.verifiers.style_models import make

TOKENIZER = build_tokenizer(VOCABULARY)
SMALL = Architecture(hidden_size=64, layers=2, heads=2, intermediate_size=128, max_positions=256)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An ORM and a PRM of random weights, saved as training saves them."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    start = stages._causal_model(SMALL, None, TOKENIZER)
    assert isinstance(start, LlamaForCausalLM)
    start.save_pretrained(root / "start")
    for kind in ("orm", "prm"):
        model = stages._token_classifier(kind, root / "start", TOKENIZER)
        with torch.no_grad():
            model.score.weight.mul_(20)  # scores that differ
        model.save_pretrained(root / kind)
        TOKENIZER.save_pretrained(root / kind)
        stage: Any = SimpleNamespace(
            stage=SimpleNamespace(name=kind, models={"generator": SimpleNamespace(digest="abc")})
        )
        write_card(
            root / kind, stage, TOKENIZER, {"solutions": "def"}, {"held_out_loss": 0.25, "tokens_per_second": 9.0}
        )
    return {kind: root / kind for kind in ("orm", "prm")}


def solutions(count: int, samples: int = 6) -> list[dict[str, Any]]:
    """Samples of the world's problems that go different ways after a while; some were cut."""
    rng = random.Random(0)
    rows = []
    for number, (chain, steps) in enumerate(teacher_solutions(WorldConfig(teacher_solutions=count))):
        for sample in range(samples):
            kept = [re.sub(r"= \d+", f"= {rng.randrange(20)}", step) if rng.random() < 0.2 else step for step in steps]
            finished = rng.random() < 0.9
            kept = kept if finished else kept[: rng.randint(1, len(kept))]
            row = {"problem_id": str(number), "sample_index": sample, "split": "test", "problem": chain.problem}
            row |= {"ground_truth_answer": "1", "text": "\n".join(kept), "steps": kept, "num_tokens": 1, "seed": 0}
            rows.append(row | {"finish_reason": "stop" if finished else "length", "error": None})
    return rows


@pytest.mark.parametrize("kind", ["orm", "prm"])
def test_who_follows_the_card_reads_the_same(folders: dict[str, Path], kind: str) -> None:
    card = (folders[kind] / "README.md").read_text()
    assert "held_out_loss: 0.25" in card
    assert "tokens_per_second" not in card  # equal trainings have equal cards
    assert "trained on solutions: def" in card
    [code] = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    rows = [row for row in solutions(8) if row["finish_reason"] == "stop"]
    found = Verifier(folders[kind]).step_probabilities(rows)
    for row, ours in zip(rows[::5], found[::5], strict=True):
        names: dict[str, Any] = {
            "folder": folders[kind],
            "problem": row["problem"],
            "steps": row["steps"],
        }
        exec(code, names)
        theirs = names["probabilities"].detach().numpy()
        np.testing.assert_allclose(ours[-1:] if kind == "orm" else ours, theirs, atol=1e-5)
    config = json.loads((folders[kind] / "config.json").read_text())
    assert config["stepverify"]["kind"] == kind
    assert config["id2label"]["1"] == {"orm": "correct", "prm": "neutral"}[kind]


def test_a_solution_longer_than_a_sliding_window_is_an_error_of_its_row(tmp_path: Path) -> None:
    config = MistralConfig(
        vocab_size=len(TOKENIZER), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=32, max_position_embeddings=2048, sliding_window=40, num_labels=3,
    )  # fmt: skip
    config.stepverify = dict(CONVENTION)
    MistralForTokenClassification(config).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    row = {"problem": "1", "steps": ["1 + 1 = 2"], "finish_reason": "stop"}
    short, long = Verifier(tmp_path).step_probabilities([row, row | {"steps": ["1 + 1 = 2"] * 20}])
    assert np.shape(short) == (1, 3)
    assert str(long).startswith("too long")


def test_a_batch_of_scores_is_one_at_a_time(folders: dict[str, Path]) -> None:
    rows = solutions(30)
    verifier = Verifier(folders["prm"])
    together = verifier.step_probabilities(rows)
    random.Random(1).shuffle(shuffled := list(range(len(rows))))
    for index in shuffled[:60]:
        [alone] = verifier.step_probabilities([rows[index]])
        np.testing.assert_allclose(together[index], alone, atol=1e-5)
    assert len({float(one[-1, 2]) for one in together if not isinstance(one, str)}) > 30


def test_score_gives_what_the_rows_give(folders: dict[str, Path]) -> None:
    rows = solutions(3)
    assert {row["finish_reason"] for row in rows} == {"stop", "length"}
    for kind in ("prm", "orm"):
        verifier = Verifier(folders[kind])
        classes = [one for one in verifier.step_probabilities(rows) if not isinstance(one, str)]
        found = verifier.score(rows)
        assert found.score.shape == (len(rows),)
        assert len({*found.score.round(6)}) > 5
        if kind == "orm":
            assert found.step_probabilities is None
            np.testing.assert_allclose(found.score, [one[-1, 1] for one in classes], atol=1e-6)
        else:
            assert found.step_probabilities is not None
            for one, row, expected in zip(found.step_probabilities, rows, classes, strict=True):
                assert one.shape == (len(row["steps"]), 3)
                np.testing.assert_allclose(one, expected, atol=1e-6)
            # Paper §2.6: the product over steps of P(neutral) + P(positive).
            np.testing.assert_allclose(found.score, [one[:, 1:].sum(1).prod() for one in classes], rtol=1e-5)


def test_score_takes_a_pair_for_a_finished_solution(folders: dict[str, Path]) -> None:
    verifier = Verifier(folders["prm"])
    rows = [row for row in solutions(3) if row["finish_reason"] == "stop"]
    finished = verifier.score(rows).score
    np.testing.assert_array_equal(verifier.score([(row["problem"], row["steps"]) for row in rows]).score, finished)
    cut = verifier.score([row | {"finish_reason": "length"} for row in rows]).score
    assert abs(cut - finished).max() > 1e-3
    nothing = verifier.score([])
    assert nothing.score.shape == (0,)
    assert nothing.step_probabilities == []


def test_score_of_an_outcome_style_reads_steps_or_text(tmp_path: Path) -> None:
    model, tokenizer = make("sequence_classification", tmp_path)
    verifier = Verifier(tmp_path, "sequence_classification")
    row = {"problem": "1 + 1?", "steps": ["1 + 1 = 2", "So 2."]}
    found = verifier.score([row, row | {"text": "So 3."}])
    assert found.step_probabilities is None
    for score, answer in zip(found.score, ("1 + 1 = 2\nSo 2.", "So 3."), strict=True):
        turns = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": answer}]
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        with torch.no_grad():
            expected = model(torch.tensor([tokenizer.encode(text, add_special_tokens=False)])).logits
        assert score == pytest.approx(float(expected), abs=1e-4)


def test_score_names_a_solution_that_the_model_cannot_read(folders: dict[str, Path], tmp_path: Path) -> None:
    verifier = Verifier(folders["prm"])
    short, long = ("1 + 1?", ["1 + 1 = 2"]), ("1 + 1?", ["7 " * 300])
    with pytest.raises(ValueError, match=r"^solution 1: problem and steps: too long: \d+ tokens.* reads 256$"):
        verifier.score([short, long])
    with pytest.raises(ValueError, match=r"^solution 1: .*\(2 of 4 solutions cannot be read\)$"):
        verifier.score([short, long, short, long])
    with pytest.raises(ValueError, match=r"^solution 1: steps: the list is empty"):
        verifier.score([short, ("1 + 1?", [])])
    make("rlhflow", tmp_path)
    with pytest.raises(ValueError, match=r"^solution 0: .* step 1 holds the control token '<\|eot_id\|>'"):
        Verifier(tmp_path, "rlhflow").score([("1 + 1?", ["2<|eot_id|>"])])


def test_scoring_keeps_every_row_and_says_why_one_has_no_score(folders: dict[str, Path]) -> None:
    rows = solutions(2)
    rows[1] |= {"error": "the engine refused"}
    rows[2] |= {"steps": [], "text": ""}
    rows[3] |= {"steps": ["7 " * 300]}
    table = Score(ScoringConfig(), folders)(pa.Table.from_pylist(rows, schema=SOLUTIONS), {})
    assert table.schema.equals(SCORES)
    found = table.to_pylist()
    assert [row["sample_index"] for row in found] == [row["sample_index"] for row in rows]
    assert found[1]["error"] == "the engine refused"
    assert (found[2]["error"], found[2]["prm_score"]) == (None, None)
    assert re.match(r"too long: \d+ tokens, and the reward model reads 256", found[3]["error"])
    for row in (found[0], found[4]):
        good = [neutral + positive for _, neutral, positive in row["step_probabilities"]]
        assert row["prm_score"] == pytest.approx(np.prod(good), rel=1e-5)
        assert 0 < row["orm_score"] < 1


def test_a_folder_of_other_conventions_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    for path in folders["prm"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["stepverify"]["step_separator"] = "\n\n"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="step_separator"):
        Verifier(tmp_path)


@pytest.mark.parametrize("kind", ["orm", "prm"])
def test_each_model_learns_32_solutions_by_heart(folders: dict[str, Path], kind: str) -> None:
    rng = random.Random(2)
    distinct = {
        (row["problem"], row["text"]): row for row in solutions(80, samples=1) if row["finish_reason"] == "stop"
    }
    rows = list(distinct.values())[:32]
    for row in rows:
        row |= {"ratings": rate_steps(row["problem"], row["steps"]), "is_correct": rng.random() < 0.5}
    made = make_examples(TOKENIZER, rows, ExampleConfig(kind, 256), [False] * len(rows))
    examples = [one.example for one in made if one.example is not None]
    assert len(examples) == 32
    torch.manual_seed(0)
    model = SelectiveLogits(stages._token_classifier(kind, folders["orm"].parent / "start", TOKENIZER), 256)
    optimise(model, examples, TrainingConfig(epochs=80, batch_size=8, learning_rate=3e-3))
    batch = batch_of(examples, torch.device("cpu"))
    with torch.no_grad():
        said_T = model.eval()(batch.row, batch.positions_U).argmax(-1)[batch.target_index_T]
    assert float((said_T == batch.classes_T).float().mean()) >= 0.99
    assert len(set(batch.classes_T.tolist())) > 1


def test_a_published_prm_of_two_classes_has_no_neutral(folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForTokenClassification

    torch.manual_seed(1)
    start = folders["orm"].parent / "start"
    theirs = AutoModelForTokenClassification.from_pretrained(start, num_labels=2).eval()
    theirs.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    rows = solutions(3)
    table = pa.Table.from_pylist(rows, schema=SOLUTIONS)
    found = Score(ScoringConfig(prm_style="trl"), {"orm": folders["orm"], "prm": tmp_path})(table, {}).to_pylist()
    for row, one in zip(rows[:4], found[:4], strict=True):
        ids, ends = TOKENIZER(row["problem"])["input_ids"], []
        for step in row["steps"]:
            ids += TOKENIZER(step)["input_ids"] + TOKENIZER("\n")["input_ids"]
            ends.append(len(ids) - 1)
        with torch.no_grad():
            right = theirs(torch.tensor([ids])).logits[0, ends].softmax(-1)[:, 1].numpy()
        assert [step[1] for step in one["step_probabilities"]] == [0] * len(ends)
        np.testing.assert_allclose([step[2] for step in one["step_probabilities"]], right, atol=1e-5)
        assert one["prm_score"] == pytest.approx(right.prod(), rel=1e-4)
