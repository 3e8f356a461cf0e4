"""Print the README's picture of the DAG: the rules of config.yaml, in Mermaid.

python docs/draw_dag.py
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def rule_edges() -> set[tuple[str, str]]:
    """Pairs of rules of which the second needs the first, without those that others imply."""
    graph = subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "--configfile",
            "config.yaml",
            "--rulegraph",
            "mermaid-js",
            "all",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", graph))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", graph)}
    return {(first, last) for first, last in edges if not _reaches(edges - {(first, last)}, first, last)}


def _reaches(edges: set[tuple[str, str]], first: str, last: str) -> bool:
    found, queue = {first}, [first]
    while queue:
        here = queue.pop()
        for after in {b for a, b in edges if a == here} - found:
            found.add(after)
            queue.append(after)
    return last in found


def picture() -> str:
    """The edges as a Mermaid flow chart."""
    lines = [f"    {first} --> {last}" for first, last in sorted(rule_edges())]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


if __name__ == "__main__":
    print(picture())
