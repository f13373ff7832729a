"""Texts from outside: shown, and never acted on, by a terminal, a log or a figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure
import pandas as pd
import pytest

from components.dataflow import store_marker
from components.dataflow.plain_text import printable
from components.dataflow.storage import Files
from components.report.main_study import picture, table
from components.report.small_scale_figures import figure_4a
from flows import evaluate, full_study
from flows.command_line import cli, commands
from tests.flows.test_evaluate import write
from tests.report.test_small_scale import frames

Printed = pytest.CaptureFixture[str]
CLEAR = "\x1b]0;owned\x07\x1b[2J"
FORGED = "\nerror: none\u2028\u202e"
FORMULAS = [r"$\input{x}$", "cost $5 and $6", "$" + "{" * 60 + "}" * 60 + "$", r"\$", "$", "a_b^c", "_hidden", "%#&~"]


def acts(text: str) -> bool:
    return any(mark in text for mark in ("\x1b", "\x07", "\x9b", "\u202e", "\u2028"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é ≤ 数 🙂 \u200d", "plain é ≤ 数 🙂 \u200d"),
        ("\\x1b stays", "\\x1b stays"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x07\x7f\x9b", "\\x1b[2J\\x07\\x7f\\x9b"),
        ("\u202eabc\u2066\u2028", "\\u202eabc\\u2066\\u2028"),
        ("\ud800\udcff", "\\ud800\\udcff"),
    ],
)
def test_what_acts_is_escaped_and_nothing_else_changes(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    assert "\n" in printable("a\n\x1b", keep="\n")


def test_names_of_columns_do_not_act_on_a_terminal(tmp_path: Path, capsys: Printed) -> None:
    names = [f"a{CLEAR}{FORGED}_score", *(f"{name}_score" for name in FORMULAS)]
    made = [
        {"problem": f"{number % 6}?", "answer": str(number % 3), "is_correct": number % 3 == 0}
        | {name: (number * 7 + at) % 13 / 13 for at, name in enumerate(names)}
        for number in range(48)
    ]
    file = write(tmp_path / "mine.jsonl", made)
    assert evaluate.main([str(file), "--root", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert not acts(printed)
    assert "a\\x1b]0;owned\\x07\\x1b[2J\\nerror: none\\u2028\\u202e" in printed
    assert not any(line.startswith("error: none") for line in printed.splitlines())
    folder = tmp_path / "out/studies/mine"
    assert (folder / "best_of_n.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert (folder / "report.html").is_file()
    assert json.loads((folder / "summary.json").read_text())["best_of_n"].keys() >= {n[:-6] for n in names}

    assert evaluate.main([str(file), "--root", str(tmp_path / "out"), "--problem-column", "x"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert not acts(line)
    made[0] |= {names[1]: f"high{CLEAR}{FORGED}"}
    assert evaluate.main([str(write(tmp_path / "bad.jsonl", made)), "--root", str(tmp_path / "out")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "\\x1b[2J" in line
    assert not acts(line)


def test_a_table_has_a_line_per_method_whatever_it_is_called() -> None:
    lines = table(curves([f"a{FORGED}", "b"]), "test").splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("a\\nerror: none")


def curves(methods: list[str]) -> pd.DataFrame:
    about = {"split": "test", "accuracy": 0.5, "ci_low": 0.4, "ci_high": 0.6}
    return pd.DataFrame([about | {"method": method, "n": n} for method in methods for n in (1, 2, 4)])


def test_figures_show_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[Any]] = []
    save: Callable[..., None] = matplotlib.figure.Figure.savefig

    def savefig(figure: Any, *args: Any, **more: Any) -> None:
        shown.append(figure.axes[0].get_legend().get_texts())
        save(figure, *args, **more)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)  # as someone's matplotlibrc has it
    assert picture(curves([*FORMULAS, f"x{CLEAR}"]), "mine: $x$").startswith(b"\x89PNG")
    rows = frames()["data_scaling"]
    assert figure_4a(rows.assign(series=rows["series"].replace("active", FORMULAS[0]))).startswith(b"\x89PNG")
    for texts, names in zip(shown, ([*FORMULAS, printable(f"x{CLEAR}")], [FORMULAS[0]]), strict=True):
        assert {*names} <= {text.get_text() for text in texts}
        assert not any(text.get_parse_math() or text.get_usetex() for text in texts)


def test_rows_in_explanations_are_shown_as_text(tmp_path: Path, capsys: Printed) -> None:
    problems = [{"problem": f"{number} + {number}?", "answer": str(2 * number)} for number in range(8)]
    train, test = write(tmp_path / "train.jsonl", problems[:4]), write(tmp_path / "test.jsonl", problems[4:])
    argv = ["--train-problems", str(train), "--test-problems", str(test), "--root", str(tmp_path / "out")]
    for stage in ("problems", "contamination"):
        assert cli.run(full_study.full_study, ["--only", stage, *argv], "") == 0
    problems[0]["problem"] = f"b{CLEAR}{FORGED}"
    write(train, problems[:4])
    capsys.readouterr()
    assert cli.run(full_study.full_study, ["explain", "problems", *argv], "") == 0
    assert cli.run(full_study.full_study, ["explain", "contamination", *argv], "") == 0
    assert cli.run(full_study.full_study, ["plan", *argv], "") == 0
    printed = capsys.readouterr().out
    assert "problem: 0 + 0? before, b\\x1b]0;owned\\x07\\x1b[2J\\nerror: none" in printed
    assert not acts(printed)
    assert not any(line.startswith("error: none") for line in printed.splitlines())


def test_hosts_are_shown_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    store_marker.begin(Files(tmp_path / "out"))
    monkeypatch.setattr(commands, "at_work", lambda files: [f"samples: process 1 on host{CLEAR}{FORGED} works on it"])
    assert cli.run(full_study.full_study, ["status", "--root", str(tmp_path / "out")], "") == 0
    printed = capsys.readouterr().out
    assert "process 1 on host\\x1b]0;owned" in printed
    assert not acts(printed)
    assert not any(line.startswith("error: none") for line in printed.splitlines())
