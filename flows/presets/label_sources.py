"""The comparison of sources of step labels: one PRM for each, on the laptop's embedded world."""

from __future__ import annotations

import dataclasses

from flows.presets.laptop import LAPTOP

LABEL_SOURCES = dataclasses.replace(
    LAPTOP,
    name="label_sources",
    about="who should rate the steps: on the laptop's embedded world, one PRM each from the exact rule, rollouts, "
    "their binary search, another PRM and a judge, on the same solutions",
    # Rollouts take eight continuations of every step. The first 500 problems are the same as the laptop study's.
    world=dataclasses.replace(LAPTOP.world, train_problems=1000),
    label_sources=("rule", "rollouts", "rollouts_search", "prm", "judge"),
    training_seeds=1,  # six reward models
    learning_rates=(),
)
