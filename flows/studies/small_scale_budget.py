"""The costs and gains of labels, by policy: the small-scale study's budget, from the costs of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from components.dataflow.datasets import Dataset
from components.evaluation.compute_cost import parameters
from components.evaluation.computed_tokens import reading_tokens, sampling_tokens
from components.evaluation.label_budget import BudgetConfig, BudgetLine, label_budget
from flows.studies.prompt_tokens import cache_block, reading_prompts, sampling_prompts
from flows.studies.small_scale_series import SmallScaleContext, TrainedVerifier
from schemas.small_scale import POLICIES

_UNIFORM = "supervised_uniform"


def budget(
    context: SmallScaleContext, verifiers: list[TrainedVerifier], accuracy: Dataset, efficiency: Dataset
) -> None:
    """Run the table label_budget. A plan cannot: it counts tokens of trainings that have not run."""
    run = context.study.runner
    models = [verifier.model for verifier in verifiers]
    if accuracy.digest is None or context.pool.digest is None or any(model.digest is None for model in models):
        run.awaits("label_budget", "the trainings")
        return
    sampling, problems = context.small.sampling, run.results["problems"]
    assert isinstance(problems, Dataset)
    shown = sampling_prompts(run, context.generator, sampling, problems)
    read = reading_prompts(run, context.generator, problems)
    pool = run.store.read(context.pool, ["problem_id", "sample_index", "num_tokens"]).to_pandas()
    block = cache_block(run, context.solutions, sampling)
    sampled = lambda samples: sampling_tokens(samples, shown, sampling.sample_block, block)  # noqa: E731
    tables = {verifier.chosen.supervised.name: verifier.chosen.supervised for verifier in verifiers}
    uniform = run.store.read(tables[_UNIFORM], ["problem_id", "sample_index", "size"]).to_pandas()
    as_they_come = {size: sampled(_up_to_the_last(pool, chosen)) for size, chosen in uniform.groupby("size")}
    costs = _PoolCosts(sampled(pool), reading_tokens(pool, read, sampling.sample_block), as_they_come)
    lines = [_line(verifier, verifiers, costs) for verifier in verifiers]
    of_pool = pool["problem_id"].unique()
    config = BudgetConfig(
        tuple(lines),
        labeller_parameters=parameters(run.store, context.labeller) if context.labeller is not None else 0.0,
        verifier_parameters=parameters(run.store, models[0]),
        generator_parameters=parameters(run.store, context.generator),
        prompt_tokens=sum(read.lengths[problem] for problem in of_pool) / max(1, len(of_pool)),
    )
    run.table(label_budget(config), verifier_accuracy=accuracy, data_efficiency=efficiency, **tables)


@dataclass(frozen=True)
class _PoolCosts:
    """Tokens computed: to sample the pool, to read it, and to sample solutions as they come, by size."""

    sampled: float
    read: float
    as_they_come: Mapping[int, float]


def _up_to_the_last(pool: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """Return the samples that had to be drawn for these, as they come: of each problem up to the last that was taken.

    Samples without an answer are drawn and not taken.
    """
    last = chosen.groupby("problem_id")["sample_index"].max()
    return pool[pool["sample_index"] <= pool["problem_id"].map(last).fillna(-1)]


def _line(verifier: TrainedVerifier, verifiers: Sequence[TrainedVerifier], costs: _PoolCosts) -> BudgetLine:
    """Return a verifier's line. One of solutions as they come needs no more of them than it is trained on."""
    name, trained = verifier.name, float(verifier.model.metrics["tokens_trained"])
    chosen = verifier.chosen.supervised.name
    if name.series not in POLICIES:
        return BudgetLine(name.series, name.size, name.seed, chosen, None, costs.as_they_come[name.size], 0.0, trained)
    first = min(other.name.size for other in verifiers if other.name.series == "process")
    earlier = {("process", first)}  # the selector, and those of earlier rounds
    if name.series == "iterated":
        rounds = {other.name.size for other in verifiers if other.name.series == "iterated"}
        earlier |= {("iterated", size) for size in rounds if size < name.size}
    selectors = [v for v in verifiers if v.name.seed == name.seed and (v.name.series, v.name.size) in earlier]
    trained += sum(float(selector.model.metrics["tokens_trained"]) for selector in selectors)
    return BudgetLine(
        name.series,
        name.size,
        name.seed,
        supervised=chosen,
        selector_supervised=_UNIFORM,
        tokens_sampled=costs.sampled,
        pool_tokens_read=len(selectors) * costs.read,
        tokens_trained=trained,
        labellings=len(selectors) + 1,
    )
