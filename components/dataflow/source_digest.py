"""Digests of the code behind a stage: kept in manifests to show code that changed under an unchanged version, and never
a part of a key.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import inspect
import sys
import time
from pathlib import Path

from components.dataflow.stage import MapStage, ModelStage, TableStage

_PACKAGES = ("components", "schemas")  # our packages that a stage may import
_ENGINE = "components.dataflow.runner"
_PREFIX = __name__.removesuffix("components.dataflow.source_digest")  # "stepverify." where the project is installed
_ATTEMPTS = 20
# Digests are comparable only within one form (how they are made) and one Python version, which parses the source.
# 2: modules, classes and functions have other names than under 1, which changes digests.
FORM = "2:{}.{}".format(*sys.version_info)


def code_digest(stage: MapStage | TableStage | ModelStage) -> str:
    """Return FORM and the sha256 of the sources of the stage's module and of all modules of ours that it imports.

    Comments, docstrings, layout and the modules' names do not count, so that moving a module changes nothing. Nor do
    the modules that the runner is made of: they carry rows, and make none.
    """
    if isinstance(stage, MapStage):
        function: object = stage.make_worker
    else:
        function = stage.compute if isinstance(stage, TableStage) else stage.train
    module = inspect.getmodule(function.func if isinstance(function, functools.partial) else function)
    assert module is not None
    return _of_module(module.__name__.removeprefix(_PREFIX), str(module.__file__))


@functools.cache
def _of_module(name: str, file: str) -> str:
    modules = {name: file} | _imported(file)
    texts = {_text(path) for module, path in modules.items() if module == name or module not in _engine()}
    return f"{FORM} {hashlib.sha256(chr(10).join(sorted(texts)).encode()).hexdigest()}"


@functools.cache
def _engine() -> frozenset[str]:
    file = _file(_ENGINE)
    assert file is not None
    return frozenset({_ENGINE} | _imported(file).keys())


def _imported(file: str) -> dict[str, str]:
    """Return the modules of ours that a file imports, directly or through others: name → file."""
    files: dict[str, str] = {}
    pending = [file]
    while pending:
        for module in _names(pending.pop()):
            path = None if module in files else _file(module)
            if path is not None:
                files[module] = path
                pending.append(path)
    return files


@functools.cache
def _names(file: str) -> frozenset[str]:
    """Return the names of ours that a file's import statements may mean: modules, and names in packages or modules."""
    names = set()
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            names |= {alias.name.removeprefix(_PREFIX) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = node.module.removeprefix(_PREFIX)
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return frozenset(name for name in names if name.partition(".")[0] in _PACKAGES)


def _file(module: str) -> str | None:
    """Find a module's source without importing it, which can take seconds; None for other names, like a class."""
    top, *inner = module.split(".")
    path = Path(__file__).parents[2].joinpath(top, *inner)
    for source in (path.with_suffix(".py"), path / "__init__.py"):
        if source.is_file():
            return str(source)
    return None


@functools.cache
def _text(file: str) -> str:
    """Return a module's code without comments, layout, docstrings and the modules that it imports from.

    The names that it imports of ours count, with their aliases.
    """
    names = set()
    for node in ast.walk(_tree(file)):
        module = (node.module or "").removeprefix(_PREFIX) if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom) and module.partition(".")[0] in _PACKAGES:
            modules = {alias.name for alias in node.names if _file(f"{module}.{alias.name}")}
            names |= {f"{alias.name} as {alias.asname}" for alias in node.names if alias.name not in modules}
    return f"{sorted(names)} {ast.dump(_Code().visit(_tree(file)))}"


class _Code(ast.NodeTransformer):
    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_docstring = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_docstring else node


def _tree(file: str) -> ast.Module:
    source = Path(file).read_text(encoding="utf-8")
    for _ in range(_ATTEMPTS - 1):
        # CPython before 3.13 counts the depth of trees for all threads at once (python/cpython#106905).
        with contextlib.suppress(SystemError):
            return ast.parse(source)
        time.sleep(0.05)
    return ast.parse(source)
