"""The costs and gains of labels, by policy: the small-scale study's budget, from the costs of its stages."""

from __future__ import annotations

from components.dataflow.datasets import Dataset
from components.evaluation.compute_cost import parameters
from components.evaluation.label_budget import BudgetConfig, BudgetLine, label_budget
from flows.studies.small_scale_series import SmallScaleContext, TrainedVerifier
from schemas.small_scale import POLICIES


def budget(
    context: SmallScaleContext, verifiers: list[TrainedVerifier], accuracy: Dataset, efficiency: Dataset
) -> None:
    """Run the table label_budget. A plan cannot: it counts tokens of trainings that have not run."""
    run = context.study.runner
    models = [verifier.model for verifier in verifiers]
    if accuracy.digest is None or context.pool.digest is None or any(model.digest is None for model in models):
        run.awaits("label_budget", "the trainings")
        return
    pool_tokens = float(run.store.read(context.pool, ["num_tokens"])["num_tokens"].to_pandas().sum())
    tables = {verifier.chosen.supervised.name: verifier.chosen.supervised for verifier in verifiers}
    lines = [_line(verifier, verifiers, pool_tokens, tables) for verifier in verifiers]
    config = BudgetConfig(
        tuple(lines),
        labeller_parameters=parameters(run.store, context.labeller) if context.labeller is not None else 0.0,
        verifier_parameters=parameters(run.store, models[0]),
        generator_parameters=parameters(run.store, context.generator),
    )
    run.table(label_budget(config), verifier_accuracy=accuracy, data_efficiency=efficiency, **tables)


def _line(
    verifier: TrainedVerifier, verifiers: list[TrainedVerifier], pool_tokens: float, tables: dict[str, Dataset]
) -> BudgetLine:
    """Return a verifier's line. One of solutions as they come needs no more of them than it is trained on."""
    name, trained = verifier.name, float(verifier.model.metrics["tokens_trained"])
    readings, uniform = 0, None
    if name.series in POLICIES:
        first = min(other.name.size for other in verifiers if other.name.series == "process")
        earlier = {("process", first)}  # the selector, and those of earlier rounds
        if name.series == "iterated":
            rounds = {other.name.size for other in verifiers if other.name.series == "iterated"}
            earlier |= {("iterated", size) for size in rounds if size < name.size}
        selectors = [v for v in verifiers if v.name.seed == name.seed and (v.name.series, v.name.size) in earlier]
        trained += sum(float(selector.model.metrics["tokens_trained"]) for selector in selectors)
        readings, uniform = len(selectors), next(table for table in tables if table == "supervised_uniform")
    return BudgetLine(
        name.series,
        name.size,
        name.seed,
        supervised=verifier.chosen.supervised.name,
        selector_supervised=uniform,
        pool_tokens_sampled=pool_tokens if readings else 0.0,
        pool_tokens_read=readings * pool_tokens,
        tokens_trained=trained,
    )
