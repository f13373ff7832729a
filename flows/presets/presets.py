"""The presets by name, each with the seed of all its parts."""

from __future__ import annotations

from flows.presets.gpus import NODE_8GPU, ONE_GPU
from flows.presets.label_sources import LABEL_SOURCES
from flows.presets.laptop import LAPTOP
from flows.presets.math_7b import MATH_7B
from flows.presets.preset import reseeded
from flows.presets.smoke import SMOKE

# Of problems, samples, training and votes alike; chosen before it was ever run.
SEED = 8
PRESETS = {
    preset.name: reseeded(preset, SEED) for preset in (SMOKE, LAPTOP, LABEL_SOURCES, ONE_GPU, NODE_8GPU, MATH_7B)
}
