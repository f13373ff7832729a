"""What surrounds the steps of a training: checkpoints, evaluations, early stopping, logs, and the folder at the end."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from components.dataflow.stage import Model
from components.dataflow.store import Store
from components.dataflow.train_executor import CHECKPOINT_REQUEST, TrainingRun
from components.training import stages, worker
from components.training.checkpoints import Checkpoints
from components.training.config import Architecture, EvaluationConfig, RewardModelConfig, TrainingConfig
from components.training.dataset import Data
from components.training.examples_of_rows import ExampleConfig, make_examples
from components.training.job import TrainingJob
from components.training.loop import SelectiveLogits, optimise
from components.training.stages import reward_model
from components.verifiers.verifier import Verifier
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY, WorldConfig, teacher_solutions
from components.worlds.worked_steps import rate_steps

TOKENIZER = build_tokenizer(VOCABULARY)
TRAINING = TrainingConfig(epochs=2, batch_size=8, learning_rate=3e-3, max_tokens=256)
SMALL = Architecture(hidden_size=32, layers=1, heads=1, intermediate_size=32, max_positions=256)


class KilledError(Exception):
    pass


def data() -> Data:
    solutions = list(teacher_solutions(WorldConfig(teacher_solutions=60)))
    rows: list[dict[str, Any]] = [
        {"problem": chain.problem, "steps": steps, "error": None} for chain, steps in solutions
    ]
    for row in rows:
        row["ratings"] = rate_steps(row["problem"], row["steps"])
    held_out = [index >= 44 for index in range(60)]
    made = make_examples(TOKENIZER, rows, ExampleConfig("prm", 256), held_out)
    examples = [one.example for one in made if one.example is not None]
    assert len(examples) == 60
    return Data(examples[:44], examples[44:], [index // 4 for index in range(16)], {"rows_used": 44})


def train(root: Path, evaluation: EvaluationConfig, die_after: int | None = None) -> dict[str, Any]:
    """One worker's life, as `train_one` lives it, without Ray; the model's manifest, or KilledError."""
    store = Store(root)
    config = RewardModelConfig("prm", TRAINING, evaluation)
    run = TrainingRun(reward_model(config, Model("start", "d")), "a" * 64, {}, {}, store)
    torch.manual_seed(0)
    start = stages._causal_model(SMALL, None, TOKENIZER)
    start.save_pretrained(root / "start")
    model = SelectiveLogits(stages._token_classifier("prm", root / "start", TOKENIZER), 256)
    examples = ExampleConfig("prm", 256)
    job = TrainingJob(
        run, {"solutions": "digest"}, TRAINING, evaluation, None, lambda folder, tokenizer: None, examples
    )
    given = data()
    kept = worker.TrainingSession(job, given, model, first=True)

    def after_step(step: int, steps: int, metrics: dict[str, float], get_state: Any) -> bool:
        ends = kept.after_step(step, steps, metrics, get_state)
        if step == die_after:
            raise KilledError
        return ends

    optimise(model, given.train, TRAINING, state=kept.state, after_step=after_step)
    kept.publish(TOKENIZER)
    manifest = store.manifest(store.folder("models", "prm", run.key))
    assert manifest is not None
    return manifest


def logged_steps(root: Path) -> list[list[int]]:
    """The optimiser steps whose loss is in each of a run's TensorBoard files, by file."""
    found = []
    for path in (root / "tensorboard").rglob("events.*"):
        data, place, steps = path.read_bytes(), 0, []
        while place < len(data):  # length (8 bytes), its checksum (4), the event, its checksum (4)
            [length] = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            steps += [event.step for value in event.summary.value if value.tag == "loss"]
            place += length + 16
        found.append(steps)
    return sorted(found)


@pytest.mark.parametrize("patience", [None, 2])
def test_a_killed_training_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int | None
) -> None:
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
    monkeypatch.setattr(worker, "_SHARE_OF_CHECKPOINTS", 1e9)
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_NOTES", 1e9)  # logs are put away at evaluations alone, however slow
    evaluation = EvaluationConfig(per_epoch=3, patience=patience)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = train(tmp_path / "whole", evaluation)
    for step in (3, 5):
        with pytest.raises(KilledError):
            train(tmp_path / "killed", evaluation, die_after=step)
    killed = train(tmp_path / "killed", evaluation)
    assert killed["digest"] == whole["digest"]
    same = {"loss", "steps", "tokens_trained", "held_out_loss", "held_out_step_auc", "rows_used"}
    assert {name: killed["metrics"][name] for name in same} == {name: whole["metrics"][name] for name in same}
    # One log of each life, each with the steps of that life, up to the last that was put away.
    assert logged_steps(tmp_path / "killed") == [[1, 2], [4], [*range(6, whole["metrics"]["steps"] + 1)]]


def test_a_driver_that_ends_gets_a_checkpoint_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_CHECKPOINTS", 1e9)
    store = Store(tmp_path)
    scratch = f"{store.folder('scratch', 'prm', 'a' * 64)}"
    with pytest.raises(KilledError):
        train(tmp_path, EvaluationConfig(), die_after=3)
    assert store.files.size(f"{scratch}/state.json") is None
    store.files.put(f"{scratch}/{CHECKPOINT_REQUEST}", b"")
    with pytest.raises(KilledError):
        train(tmp_path, EvaluationConfig(), die_after=3)
    assert store.files.size(f"{scratch}/state.json")
    assert store.files.size(f"{scratch}/{CHECKPOINT_REQUEST}") is None


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"flipped": bytes(data), "cut": bytes(data[:100]), "emptied": b""}[how])


@pytest.mark.parametrize("how", ["flipped", "cut", "emptied"])
@pytest.mark.parametrize("which", ["newest", "both", "list", "of_before"])
def test_a_damaged_checkpoint_is_put_aside_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, which: str
) -> None:
    """Training goes on from the one before, or anew: it ends in the bits of a training that nothing disturbed."""
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
    monkeypatch.setattr(worker, "_SHARE_OF_CHECKPOINTS", 1e9)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = train(tmp_path / "whole", EvaluationConfig())
    with pytest.raises(KilledError):
        train(tmp_path / "killed", EvaluationConfig(), die_after=4)
    store = Store(tmp_path / "killed")
    scratch = Path(store.files.url(store.folder("scratch", "prm", "a" * 64)))
    assert sorted(path.name for path in scratch.glob("state*")) == ["state-3.pt", "state-4.pt", "state.json"]
    bad = {"newest": ["state-4.pt"], "both": ["state-4.pt", "state-3.pt"], "list": ["state.json"], "of_before": []}
    for name in bad[which]:
        damage(scratch / name, how)
    if which == "of_before":
        (scratch / "state-4.pt").rename(scratch / "state.pt")
        (scratch / "state.json").unlink()
        damage(scratch / "state.pt", how)
    with pytest.raises(KilledError):
        train(tmp_path / "killed", EvaluationConfig(), die_after=5)
    note = json.loads((scratch / "progress.json").read_text())
    ends = "training goes on from step 3" if which == "newest" else "training started anew"
    assert [notice.endswith(ends) for notice in note["notices"]] == [True] * max(1, len(bad[which]))
    aside = {path.name for path in (tmp_path / "killed/quarantine").rglob("state*")}
    assert aside == set(bad[which] or ["state.pt"])
    assert train(tmp_path / "killed", EvaluationConfig())["digest"] == whole["digest"]


def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a copied folder brings it; and bytes that are no state, in a list that is sealed."""
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
    monkeypatch.setattr(worker, "_SHARE_OF_CHECKPOINTS", 1e9)
    with pytest.raises(KilledError):
        train(tmp_path, EvaluationConfig(), die_after=4)
    store = Store(tmp_path)
    folder = store.folder("scratch", "prm", "a" * 64)
    for stage, key in (("orm", "a" * 64), ("prm", "b" * 64)):
        found = Checkpoints(store.files, folder, stage, key)
        assert found.load(bytes, put_aside=False) is None
        assert "of another training" in found.notices[0]
    ours = Checkpoints(store.files, folder, "prm", "a" * 64)
    assert ours.load(worker._read_state, put_aside=False) is not None
    ours.save(b"no state", 9)
    again = Checkpoints(store.files, folder, "prm", "a" * 64)
    state = again.load(worker._read_state, put_aside=True)
    assert state is not None
    assert state["notes"]["metrics"]["steps"] == 4
    assert again.notices == ["checkpoint state-9.pt is no state of a training: ValueError"]

    def without_memory(data: bytes) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):  # no fault of the checkpoint's
        Checkpoints(store.files, folder, "prm", "a" * 64).load(without_memory, put_aside=True)
    assert store.files.size(f"{folder}/state-4.pt") is not None


def test_metrics_that_an_evaluation_lacks_are_not_a_former_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([{"within_problem_auc": 0.9, "loss": 1.0}, *[{"loss": 2.0}] * 11])
    monkeypatch.setattr(worker, "evaluate", lambda *given: next(found))
    (tmp_path / "diverged").mkdir()
    metrics = train(tmp_path / "diverged", EvaluationConfig(per_epoch=5))["metrics"]
    assert metrics["held_out_loss"] == 2.0
    assert "held_out_within_problem_auc" not in metrics


def test_only_what_a_reward_model_measures_can_be_watched() -> None:
    with pytest.raises(ValueError, match="orm: watch 'step_auc': one of within_problem_auc"):
        reward_model(RewardModelConfig("orm", TRAINING, EvaluationConfig(watch="step_auc")), Model("start", "d"))


def test_early_stopping_keeps_the_best_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With evaluations that get worse after the second, training ends, and the second's weights are published."""
    found = iter([0.5, 0.9, 0.8, 0.7, 0.6, 0.5])
    monkeypatch.setattr(worker, "evaluate", lambda *given: {"within_problem_auc": next(found), "loss": 1.0})
    (tmp_path / "stopped").mkdir()
    stopped = train(tmp_path / "stopped", EvaluationConfig(per_epoch=5, patience=2))
    assert stopped["metrics"]["best_step"] == 2
    assert stopped["metrics"]["held_out_within_problem_auc"] == 0.9  # of the weights that are published
    assert stopped["metrics"]["steps"] == 4
    states: dict[int, Any] = {}
    torch.manual_seed(0)
    start = stages._causal_model(SMALL, None, TOKENIZER)
    start.save_pretrained(tmp_path / "start")
    model = SelectiveLogits(stages._token_classifier("prm", tmp_path / "start", TOKENIZER), 256)

    def keep(step: int, steps: int, metrics: dict[str, float], get_state: Any) -> bool:
        states[step] = {name: value.clone() for name, value in model.model.state_dict().items()}
        return step == 4

    optimise(model, data().train, TRAINING, after_step=keep)
    [folder] = (tmp_path / "stopped" / "models").glob("*/*/")
    published = Verifier(folder).logits.model.state_dict()
    assert all(torch.equal(published[name], value) for name, value in states[2].items())
    assert not all(torch.equal(published[name], value) for name, value in states[4].items())
