"""What a study cost: time and FLOPs by stage, and the compute that accuracy takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from components.dataflow.datasets import Dataset
from components.dataflow.runner import Runner
from components.dataflow.stage import Model
from components.evaluation.compute_cost import INFERENCE, TRAINING, accuracy_against_compute, parameters, stage_costs
from components.evaluation.computed_tokens import Prompts, prefilled, reading_tokens, sampling_tokens
from components.report.main_study import Row, is_other_prm, label
from components.report.parts import Section, listing, section
from flows.presets.preset import Preset
from flows.studies.prompt_tokens import cache_block, reading_prompts, sampling_prompts
from flows.study import Study

_NOTE = (
    "FLOPs: 6 per parameter and token in training, 2 in sampling and scoring; attention is left out. Tokens: what a "
    "model computes, prompts included. In training a prompt comes with every example; in scoring once per problem and "
    "block of samples; in sampling once too, and again for every further sample, but for the full blocks of vLLM's "
    "cache ({block}). Of rollouts the history counts once for each step that is continued, of judgements the prompt "
    "for each solution, both from mean lengths."
)


def costs(study: Study, best_of_n: pd.DataFrame) -> tuple[pd.DataFrame, Section]:
    """Return the cost of each stage of a study, and the section with it and with the compute that accuracy takes."""
    run, preset = study.runner, study.preset
    given = {"generator": study.generator, "reward_base": study.reward_base, "prm": study.published_prm}
    models = {name: result for name, result in run.results.items() if isinstance(result, Model)}
    models |= {name: model for name, model in given.items() if model is not None}
    solutions, problems, generator = run.results["solutions"], run.results["problems"], models.get("generator")
    assert isinstance(solutions, Dataset)
    assert isinstance(problems, Dataset)
    samples = run.store.read(solutions, ["problem_id", "sample_index", "split", "num_tokens"]).to_pandas()
    reader = study.reward_base or generator
    assert reader is not None
    read = reading_prompts(run, reader, problems)
    shown = sampling_prompts(run, generator, preset.sampling, problems) if generator is not None else None
    block, samples_per_block = cache_block(run, solutions, preset.sampling), preset.sampling.sample_block
    held_out = reading_tokens(samples[samples["split"] != "train"], read, samples_per_block)
    sizes = {name: parameters(run.store, model) for name, model in models.items()}
    work = {name: (model.metrics.get("tokens_trained"), TRAINING * sizes[name]) for name, model in models.items()}
    work["solutions"] = (float(samples["num_tokens"].sum()), float("nan"))  # of a model behind an endpoint
    if shown is not None:
        tokens = sampling_tokens(samples, shown, samples_per_block, block)
        work["solutions"] = tokens, INFERENCE * sizes["generator"]
    reading = INFERENCE * (sizes["orm"] + sizes.get("prm", 0))
    work |= {name: (held_out, reading) for name in run.results if name.startswith("scores")}
    work |= _of_label_sources(run, preset, sizes, held_out, (read, samples))
    spent = stage_costs(run.store, run.results, work)
    test = samples[(samples["split"] == "test") & (samples["num_tokens"] > 0)]
    per_problem = _per_problem(test, shown, read, block, sizes) if shown is not None else {}
    series = [{"name": label(line["kind"])} | line for line in accuracy_against_compute(best_of_n, per_problem)]
    chart = {"title": "Accuracy against compute", "x": "FLOPs per problem, sampling and scoring", "log": True}
    chart |= {"y": "% of problems solved", "series": series}
    note = _NOTE.format(block=f"{block} tokens" if block else "none here")
    text = "What each stage took when it was computed."
    charts = [chart] if shown is not None else []  # what an endpoint computes is not known
    return spent, section("Cost", text, charts, [listing("Stages", spent, _COSTS, note)])


def _per_problem(
    test: pd.DataFrame, shown: Prompts, read: Prompts, block: int | None, sizes: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return method → FLOPs of a test problem whatever N is, and of one sample, in the mean. test: its samples."""
    lengths = [shown.lengths[problem] for problem in test["problem_id"].unique()]
    if not lengths:
        return {}
    once = sum(prefilled(length, shown.common, block) - prefilled(length, length, block) for length in lengths)
    again = sum(prefilled(length, length, block) for length in lengths)
    tokens, prompt = float(test["num_tokens"].mean()), read.mean
    sampling = (
        2 * sizes["generator"] * once / len(lengths),
        2 * sizes["generator"] * (again / len(lengths) + tokens - 1),
    )
    methods = {"majority": sampling}
    for name in ("orm", "prm"):
        if name in sizes:
            methods[name] = (
                sampling[0] + INFERENCE * sizes[name] * prompt,
                sampling[1] + INFERENCE * sizes[name] * tokens,
            )
    return methods


def _of_label_sources(
    run: Runner,
    preset: Preset,
    sizes: Mapping[str, float],
    held_out: float,
    solutions: tuple[Prompts, pd.DataFrame],
) -> dict[str, tuple[float | None, float]]:
    """Return the work of rollouts, judges and the PRMs of further sources: stage → (tokens, FLOPs per token).

    solutions: the prompts and the samples that are labelled. Of rollouts and judgements, prompts are counted from
    means: the problem's, and of the solution as much as is shown.
    """
    prompts, samples = solutions
    train = samples[(samples["split"] == "train") & (samples["num_tokens"] > 0)]
    solution = float(train["num_tokens"].mean()) if len(train) else 0.0
    work: dict[str, tuple[float | None, float]] = {}
    for name, result in run.results.items():
        prm = name.partition("_scores")[0]
        if is_other_prm(prm) and prm in sizes and name != prm:
            work[name] = held_out, INFERENCE * sizes[prm]
        elif name in ("rollouts", "rollouts_search") and isinstance(result, Dataset):
            table = run.store.read(result, ["num_tokens", "asked_steps"]).to_pandas()
            asked = float(table["asked_steps"].map(len).sum())
            tokens = float(table["num_tokens"].sum()) + asked * (prompts.mean + solution / 2)
            work[name] = tokens, INFERENCE * sizes["generator"]
        elif name == "judgements" and isinstance(result, Dataset) and "judge" in sizes:  # else a folder, no stage's
            table = run.store.read(result, ["num_tokens"]).to_pandas()
            form = len(preset.judge.prompt) / 3  # characters of a token, about
            work[name] = (
                float(table["num_tokens"].sum()) + len(table) * (form + prompts.mean + solution),
                (INFERENCE * sizes["judge"]),
            )
    return work


def _or_dash(name: str, form: str) -> Callable[[Row], str]:
    return lambda row: "–" if pd.isna(row[name]) else format(row[name], form)


_COSTS: dict[str, Callable[[Row], Any]] = {
    "stage": lambda row: row["stage"],
    "rows": _or_dash("rows", ",.0f"),
    "tokens": _or_dash("tokens", ",.0f"),
    "seconds": _or_dash("seconds", ",.1f"),
    "CPU-seconds held": _or_dash("cpu_seconds", ",.0f"),
    "GPU-seconds held": _or_dash("gpu_seconds", ",.0f"),
    "FLOPs": _or_dash("flops", ".2e"),
}
