"""Every command that README and docs show can be typed: its file, module, target and options exist. Nothing is run."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from flows import compare_verifiers, evaluate, export, push, step_errors
from flows.command_line import main, option_groups, options
from flows.presets.paths import SettingError, parse_setting, with_setting
from flows.presets.presets import PRESETS
from tests.docs.pages import PAGES, ROOT, commands, name

# Programs that pages show and that are not ours to check.
OTHERS = {"kubectl", "tensorboard", "docker", "helm", "kustomize", "kind"}
PLACEHOLDERS = {"SEED": "8"}  # where an option wants a number; names of files and folders may be anything


def parse_flow(flow: str, arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed options of a flow's command line; nothing runs. Raises SystemExit for one that is not understood, and
    SettingError for a number of a preset that does not exist or cannot be that."""
    parsers: dict[str, Callable[[Sequence[str]], argparse.Namespace]] = {
        "full_study": lambda argv: options.parse(argv, ""),
        "small_scale": lambda argv: options.parse(argv, "", option_groups.add_small_scale),
        "evaluate": evaluate._parse,
        "compare_verifiers": compare_verifiers._parse,
        "step_errors": step_errors._parse,
        "export": export._parse,
        "push": push._parse,
    }
    parsed = parsers[flow](arguments)
    for text in getattr(parsed, "set", []):
        with_setting(PRESETS[parsed.preset], *parse_setting(text))
    return parsed


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def check(words: Sequence[str]) -> None:
    """Raises AssertionError, or SystemExit of a parser, for a command that could not be run."""
    words = [PLACEHOLDERS.get(word, word) for word in words]
    program, rest = words[0], words[1:]
    if program == "make":
        assert {word for word in rest if "=" not in word} <= targets()
    elif program == "stepverify":
        if not rest[0].startswith("-"):
            parse_flow(main.FLOWS[rest[0]][0], rest[1:])
    elif program == "pip":
        assert rest in (["install", "."], ["install", "tensorboard"])
    elif program == "ray":
        check(rest[rest.index("--") + 1 :])
    elif program in ("python", ".venv/bin/python") and rest[0] == "-m":
        assert importlib.util.find_spec(rest[1]) is not None, f"there is no module {rest[1]}"
    elif program in ("python", ".venv/bin/python"):
        path = ROOT / rest[0]
        assert path.is_file(), f"there is no {rest[0]}"
        if path.parent == ROOT / "flows":
            parse_flow(path.stem, rest[1:])
    elif program.startswith(".venv/bin/"):
        assert Path(program).name in {"pre-commit"}
    else:
        assert program in OTHERS or re.match(r"\w+=\$\(kubectl", program), f"what is {program}?"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_can_be_typed(page: Path) -> None:
    for words in commands(page):
        try:
            check(words)
        except (SystemExit, SettingError):
            pytest.fail(f"{' '.join(words)}: not understood")


@pytest.mark.parametrize("file", sorted((ROOT / "docs/results").glob("*.json")), ids=name)
def test_commands_of_results_can_be_typed(file: Path) -> None:
    results = json.loads(file.read_text(encoding="utf-8"))
    for found in [*results["tables"].values(), *results.get("sentences", {}).values()]:
        assert {"command", "machine", "date", "commit"} <= found.keys()
        assert found["commit"] or found["commit_note"]
        for command in found["command"].split("; "):
            if command.startswith(("python", "make")):
                check(command.split())


def test_the_help_shows_commands_that_can_be_typed() -> None:
    lines = (options._EXAMPLES + options._SMALL_SCALE_EXAMPLES).replace("\\\n", "").splitlines()
    shown = [re.split(r"  +(?=[a-z])", line.strip())[0] for line in lines if "python " in line]
    assert len(shown) > 10
    for line in shown:
        check(line.split())


def test_a_command_that_is_not_there_is_found() -> None:
    flow = "python flows/full_study.py"
    for line in (
        "make everything",
        "stepverify evaluate",
        "stepverify study --no-such-option",
        "python -m components.no_such",
        f"{flow} --no-such-option",
        f"{flow} --set no.such=3",
    ):
        with pytest.raises((AssertionError, SystemExit, SettingError)):
            check(line.split())
