"""Progress in a log: whole lines, none twice."""

from __future__ import annotations

import pytest

from components.dataflow.progress import progress


def test_a_log_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("  solutions", "shard", 3) as bar:
        for rows in (10, 20, 30):
            bar.set_postfix_str(f"{rows} rows", refresh=False)
            bar.update()
    written = capsys.readouterr().err
    assert "\r" not in written
    assert written.endswith("\n")
    lines = written.splitlines()
    assert lines[0].startswith("  solutions: 0/3 shard")
    assert lines[-1].startswith("  solutions: 3/3 shard")
    assert lines[-1].endswith("30 rows]")
    assert len(set(lines)) == len(lines)


def test_several_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("  first", "model", 1) as first, progress("  second", "model", 1, position=1) as second:
        first.update()
        second.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith(("  first: ", "  second: ")) for line in lines)
