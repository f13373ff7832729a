"""The sources of step labels by name, and what each is."""

from __future__ import annotations

from typing import Literal

LabelSource = Literal["human", "rule", "alternatives", "rollouts", "rollouts_soft", "rollouts_search", "prm", "judge"]
SOURCES: dict[LabelSource, str] = {
    "human": "the files of --labelled-solutions: PRM800K's, or your own",
    "rule": "the embedded world's exact rule",
    "alternatives": "the rule again, of alternatives to the steps too: some with a digit changed, some that misread",
    "rollouts": "continuations from each step: is any right? (Math-Shepherd)",
    "rollouts_soft": "the same ones: the share that is right, as a soft label",
    "rollouts_search": "the same by binary search for the first error (OmegaPRM)",
    "prm": "a trained PRM: P(negative) > 0.20 is wrong (--labelling-prm; without it the PRM of the first source)",
    "judge": "an instruction model that names the first wrong step (--judge)",
}
