"""Workflows, forms, hooks and the citation: they parse, and what they name exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import ROOT, name
from tests.docs.test_commands import targets

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yaml"))


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=name)
def test_workflows_run_what_there_is(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    triggers = workflow[True]  # YAML 1.1 reads the key `on` as true
    for trigger in triggers.values():
        for path in (trigger or {}).get("paths", []) if isinstance(trigger, dict) else []:
            assert any(ROOT.glob(path)), path
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])
            elif step["run"].startswith("make "):
                assert set(step["run"].split()[1:]) <= targets()
            else:
                assert (ROOT / step["run"].split()[0]).is_file()


def test_the_fast_tests_run_on_push_and_the_whole_suite_nightly() -> None:
    by_name = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in WORKFLOWS}
    assert {"push", "pull_request"} <= by_name["fast"][True].keys()
    assert {"schedule", "workflow_dispatch"} <= by_name["nightly"][True].keys()
    assert "cluster/**" in by_name["manifests"][True]["pull_request"]["paths"]


@pytest.mark.parametrize("file", FORMS, ids=name)
def test_issue_forms_are_forms(file: Path) -> None:
    form = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(ids) == len(set(ids)) >= 3
    assert all(field["attributes"].get("label") for field in form["body"] if field["type"] != "markdown")


def test_hooks_are_tools_of_the_environment() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    tools = {re.split(r"[<>=\[]", line)[0] for line in project()["optional-dependencies"]["dev"]}
    for repository in config["repos"]:
        assert repository["repo"] == "local"  # no network
        for hook in repository["hooks"]:
            tool = hook["entry"].split()[0]
            assert hook["language"] == "system"
            assert tool.startswith(".venv/bin/")
            assert Path(tool).name in tools


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license", "references"} <= citation.keys()
    assert citation["version"] == project()["version"]
    assert citation["license"] == project()["license"]
    [paper] = citation["references"]
    assert paper["authors"][0]["family-names"] == "Lightman"
    assert paper["year"] == 2023
    assert f"[Unreleased]: {citation['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
