"""Build the wheel: everything under one name, `stepverify`, so that a user's own `components` or `flows` stay theirs.

In the repository the packages lie at the top and import each other by their plain names. In the wheel they lie under
`stepverify/`, stepverify.py is its `__init__.py`, and each import of ours gets the prefix; nothing else changes.
"""

import ast
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
PACKAGES = ("cluster", "components", "flows", "schemas")


def with_prefix(source: str) -> str:
    """Return a module's source with `from components.x import y` as `from stepverify.components.x import y`.

    Raises ValueError for `import components.x`, which binds a name that would not be there.
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] in PACKAGES for alias in node.names):
            raise ValueError(f"line {node.lineno}: write `from package import module`")
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            line, start = lines[node.lineno - 1], node.col_offset
            lines[node.lineno - 1] = line[:start] + line[start:].replace("from ", "from stepverify.", 1)
    return "".join(lines)


class BuildUnderOneName(build_py):
    """Copies the packages into the wheel, with the prefix in their imports."""

    def build_module(self, module, module_file, package):
        """Copy one module, which setuptools found."""
        copied = super().build_module(module, module_file, package)
        built = Path(copied[0])
        built.write_text(with_prefix(built.read_text(encoding="utf-8")), encoding="utf-8")
        return copied

    def run(self):
        """Copy all modules, and stepverify.py as the package itself."""
        super().run()
        top = Path(self.build_lib) / "stepverify" / "__init__.py"
        top.parent.mkdir(parents=True, exist_ok=True)
        top.write_text(with_prefix((ROOT / "stepverify.py").read_text(encoding="utf-8")), encoding="utf-8")


found = find_packages(str(ROOT), include=[f"{name}{rest}" for name in PACKAGES for rest in ("", ".*")])
setup(
    packages=[f"stepverify.{name}" for name in found],
    package_dir={f"stepverify.{name}": name.replace(".", "/") for name in found},
    package_data={
        "stepverify.cluster": ["*.yaml", "crd/*"],
        "stepverify.components.labels": ["*.txt"],
        "stepverify.components.report": ["page.*"],
        "stepverify.components.verifiers": ["styles/*.toml"],
        "stepverify.flows.presets": ["*.txt"],
    },
    cmdclass={"build_py": BuildUnderOneName},
)
