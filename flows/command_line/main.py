"""The console command `stepverify`: one word per flow, which is run as its file would be."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

FLOWS = {
    "study": ("full_study", "train an ORM and a PRM and compare them by best-of-N (the main study)"),
    "small-scale": ("small_scale", "a large PRM labels for small ones: what is a label worth? (paper §4)"),
    "evaluate": ("evaluate", "best-of-N of anyone's scored samples, with a report"),
    "compare-verifiers": ("compare_verifiers", "any verifiers on the very same samples: which ranks better?"),
    "step-errors": ("step_errors", "does a PRM find the first wrong step of rated solutions?"),
    "export": ("export", "a study's tables as files in other projects' formats"),
    "push": ("push", "a study's samples, report and reward models to a hub, private unless said"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow that the first word names with the words behind it. Return its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    name = given[0] if given else "--help"
    if name in ("-h", "--help"):
        print("usage: stepverify FLOW [OPTIONS]      (stepverify FLOW --help tells a flow's options)\n")
        print("\n".join(f"  {word:<18} {about}" for word, (_, about) in FLOWS.items()))
        return 0
    if name == "--version":
        print(f"stepverify {importlib.metadata.version('stepverify')}")
        return 0
    if name not in FLOWS:
        near = difflib.get_close_matches(name, FLOWS, n=1)
        more = f"did you mean {near[0]}?" if near else f"flows are {', '.join(FLOWS)}"
        print(f"error: {name}: there is no such flow; {more}", file=sys.stderr)
        return 2
    sys.argv[0] = f"stepverify {name}"  # what the flow's help calls itself
    package = __name__.removesuffix(".command_line.main")
    try:
        flow = importlib.import_module(f"{package}.{FLOWS[name][0]}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(package):
            raise
        print(f"error: {name} needs {error.name}: install stepverify[cpu] or stepverify[gpu]", file=sys.stderr)
        return 2
    return int(flow.main(given[1:]))
