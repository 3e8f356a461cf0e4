"""Runs tests again and again in forks of one process, which has imported the large libraries once.

    python tests/mutants/forked_tests.py

Each line of the input is a JSON list of pytest's arguments; for each there is one line of output, a JSON list
of pytest's exit status and what it printed. The working folder is the checkout whose tests these are.
"""

import importlib
import json
import os
import sys
import tempfile

# What is imported here must not read the rules, and no part of the checkout.
LIBRARIES = (
    *("pytest", "torch", "transformers", "transformers.models.llama.modeling_llama"),
    *(
        "transformers.models.gpt2.modeling_gpt2",
        "transformers.trainer",
        "pyarrow.parquet",
        "matplotlib.pyplot",
    ),
)


def run_forked(arguments: list[str]) -> tuple[int, str]:
    """Run pytest in a fork: its exit status, -1 for a fork that was killed, and its output."""
    import pytest

    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            # Without what runs at an interpreter's end: that is the parent's.
            status = 3
            try:
                status = int(pytest.main(arguments))
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1), output.read()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        answers.write(json.dumps(run_forked(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
