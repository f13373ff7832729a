"""What a test counted, e.g. the kills that it survived, is told at the end of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Counted = Callable[[str], None]


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Counted:
    return lambda line: record_property("counted", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = terminalreporter.stats.get("passed", [])
    lines = [str(value) for report in passed for name, value in report.user_properties if name == "counted"]
    if lines:
        terminalreporter.section("counted")
        terminalreporter.write("\n".join(lines) + "\n")
