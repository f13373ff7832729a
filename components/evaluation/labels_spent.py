"""The labels that a verifier of the small-scale study took: the solutions that were labelled for it, and their steps.

A solution is counted once, though a selector and a verifier have both learned from it: it is labelled once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from schemas.tables import SAMPLE_KEY

READS = [*SAMPLE_KEY, "size", "num_tokens", "ratings", "error"]


@dataclass(frozen=True)
class LabelledLine:
    """The labelled solutions of one trained verifier.

    supervised: the input table with its own, in the rows of its size. selector_supervised: that with its selector's, in
    the rows of its smallest size; None: it has none.
    """

    series: str
    size: int
    seed: int  # which training, from 0
    supervised: str
    selector_supervised: str | None


def labelled(supervised: pa.Table) -> pd.DataFrame:
    """Return the solutions that were labelled: their keys, size, tokens and num_labels (of steps).

    supervised: with the columns READS.
    """
    frame = supervised.select([*SAMPLE_KEY, "size", "num_tokens", "error"]).to_pandas()
    labels = [len(ratings or []) for ratings in supervised["ratings"].to_pylist()]
    return frame.assign(num_labels=labels)[frame["error"].isna()]


def solutions_spent(
    frames: Mapping[str, pd.DataFrame], supervised: str, size: int, selector_supervised: str | None
) -> pd.DataFrame:
    """Return the solutions that were labelled for a verifier, each once; `of_selector` marks its selector's alone.

    frames: table → `labelled`. supervised: the table with the verifier's own, in the rows of its size.
    selector_supervised: that with its selector's, in the rows of its smallest size; None: it has none. Raises
    ValueError where there is no solution of that size.
    """
    own = frames[supervised]
    own = own[own["size"] == size].assign(of_selector=False)
    if own.empty:
        raise ValueError(f"{supervised}: no solution of size {size}")
    if selector_supervised is None:
        return own
    selectors = frames[selector_supervised]
    selectors = selectors[selectors["size"] == selectors["size"].min()].assign(of_selector=True)
    return pd.concat([own, selectors]).drop_duplicates(SAMPLE_KEY)
