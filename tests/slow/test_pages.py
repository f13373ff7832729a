"""The Python that README and docs show of a study's outputs opens every table that it names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.docs.pages import ROOT, blocks

pytestmark = pytest.mark.slow
SHOWN = "outputs/studies/laptop/index.json"


@pytest.mark.parametrize("page", ["README.md", "docs/outputs.md"])
def test_tables_open_as_shown(smoke: Path, page: str) -> None:
    [block] = [block for block in blocks(ROOT / page, "python") if f'open("{SHOWN}")' in block]
    names: dict[str, object] = {}
    exec(block.replace(SHOWN, str(smoke / "studies/smoke/index.json")), names)
    frames = {name: value for name, value in names.items() if isinstance(value, pd.DataFrame)}
    assert len(frames) == block.count("pd.read_parquet(")
    for line in block.splitlines():
        if "pd.read_parquet(" in line:
            frame = frames[line.split(" = ")[0]]
            shown = {column.strip() for column in line.partition("# ")[2].split(",")} - {"…"}
            assert shown <= set(frame.columns)
