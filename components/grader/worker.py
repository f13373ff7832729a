"""The process that extracts and compares answers: it reads model text, and may be killed at any time by its parent.

    python -m components.grader.worker MEMORY CPU_SECONDS

One JSON line per message. Out first: "ready". In: [number, answer, truth]; out, two for each pair: [number,
"is_correct", verdict, rule or status], then the same for "is_correct_prm800k"; and [number, "loading", null, library]
before a slow import, with "" after it: meanwhile the parent's clock stands still. In: [number, "extract", text,
finish_reason]; out: [number, "answer", answer, rule].
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable

from components.grader import equality, lazy_import, prm800k_grader
from components.grader.expression_parser import Risky
from components.text.answer_extraction import solution_answer

Say = Callable[[str, bool | str | None, str], None]


def main(memory: int, cpu_seconds: int) -> None:
    """Serve until the input ends. memory: bytes of address space; cpu_seconds: of one text or pair."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    output = sys.stdout
    sys.stdout = sys.stderr  # a library's prints are no messages
    output.write('"ready"\n')
    output.flush()
    for line in sys.stdin:
        number, *task = json.loads(line)
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(
            resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu_seconds, resource.RLIM_INFINITY)
        )

        def say(kind: str, value: bool | str | None, detail: str, number: int = number) -> None:
            output.write(json.dumps([number, kind, value, detail]) + "\n")
            output.flush()

        if len(task) == 3:
            say("answer", *_extracted(*task[1:]))
            continue
        answer, truth = task
        say("is_correct", *_decided(equality.decide, answer, truth, say))
        say("is_correct_prm800k", *_decided(prm800k_grader.decide, answer, truth, say))


def _extracted(text: str, finish_reason: str | None) -> tuple[str | None, str]:
    """Extract, and return the answer and its rule, or no answer and a status."""
    try:
        return solution_answer(text, finish_reason)
    except MemoryError:
        return None, "out_of_memory"
    except Exception:
        return None, "error"


def _decided(
    decide: Callable[[str, str], tuple[bool, str]], answer: str, truth: str, say: Say
) -> tuple[bool | None, str]:
    """Decide, and return the verdict and its rule, or no verdict and a status."""
    lazy_import.listener = say
    try:
        return decide(answer, truth)
    except Risky:
        return False, "risky"
    except MemoryError:
        return None, "out_of_memory"
    except Exception as error:
        return None, f"error: {type(error).__name__}: {error}"[:200]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
