"""Check each type of causal language model that transformers knows, and write the table of docs/models.md.

    python tests/registry/check_models.py                       # all types, without compiled layers
    python tests/registry/check_models.py --types llama gpt_oss
    python tests/registry/check_models.py --results a.json
    python tests/registry/check_models.py --aspects compiled --results b.json
    python tests/registry/check_models.py --read a.json b.json --write docs/models.md

Each type is made tiny, with random weights, in a process of its own that has so many seconds. What is right
is right against transformers' own logits, attention and gradients. The exit status is 1 if anything is
wrong, crashes or stays unclear.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import verdicts
from tiny_types import EVERYTHING, VARIANTS
from verdicts import ASPECTS, CRASH, QUICK_ASPECTS, REFUSED, RIGHT, VERDICTS

NOT_MADE = "not made"
_BEGIN, _END = "<!-- table -->", "<!-- end of table -->"
_MARKS = {RIGHT: "right", REFUSED: "refused", NOT_MADE: "–", "": ""}


def check(
    names: Iterable[str], *, aspects: Collection[str] = QUICK_ASPECTS, seconds: int = 180
) -> Iterator[tuple[str, dict]]:
    """Verdict and reason by aspect of each type, one after the other, each in a process of its own.

    Args:
        names: of EVERYTHING.
        aspects: what of each, of ASPECTS.
        seconds: that a type may take.
    """
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "verdicts.json"
            process = os.fork()
            if process == 0:
                _check_here(name, path, aspects, seconds)
            _, status = os.waitpid(process, 0)
            if path.exists():
                yield name, json.loads(path.read_text())
            else:
                ended = (
                    f"ended by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else ""
                )
                yield name, dict.fromkeys(aspects, (CRASH, ended or f"took more than {seconds} seconds"))


def _check_here(name: str, path: Path, aspects: Collection[str], seconds: int) -> None:
    """Check one type, write what came out, and end this process, a fork of the one that asked."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    torch.set_num_threads(1)
    status = 1
    try:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                found = verdicts.verdicts_of(name, Path(scratch), aspects)
            except Exception as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                found = dict.fromkeys(aspects, (NOT_MADE, reason))
        path.write_text(json.dumps(found))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def counts(found: dict[str, dict]) -> dict[str, Counter]:
    """Number of types by verdict, for each aspect."""
    return {
        aspect: Counter(by_aspect[aspect][0] for by_aspect in found.values() if aspect in by_aspect)
        for aspect in ASPECTS
    }


def table(found: dict[str, dict]) -> list[str]:
    """Lines of Markdown: a row for each type, then the reasons of refusals that differ."""
    aspects = [aspect for aspect in ASPECTS if any(aspect in by_aspect for by_aspect in found.values())]
    lines = [f"| type | {' | '.join(aspects)} |", f"|---|{'---|' * len(aspects)}"]
    for name, by_aspect in found.items():
        # An aspect that was not looked at is left empty.
        cells = [by_aspect.get(aspect, ("", ""))[0] for aspect in aspects]
        lines.append(f"| {name} | {' | '.join(_MARKS.get(cell, f'**{cell}**') for cell in cells)} |")
    return lines


def count_lines(found: dict[str, dict]) -> list[str]:
    """Lines of Markdown: number of types by verdict, for each aspect."""
    columns = (*VERDICTS, NOT_MADE)
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for aspect, by_verdict in counts(found).items():
        if by_verdict:
            lines.append(f"| {aspect} | {' | '.join(str(by_verdict[verdict]) for verdict in columns)} |")
    return lines


def write(path: Path, found: dict[str, dict]) -> None:
    """Replace what stands between the marks of the table."""
    text = path.read_text()
    before, after = text[: text.index(_BEGIN)], text[text.index(_END) :]
    lines = [_BEGIN, "", *count_lines(found), "", *table(found), ""]
    path.write_text(before + "\n".join(lines) + "\n" + after)


def main() -> None:
    """Check the types asked for, say what came out, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--types", nargs="+", default=EVERYTHING, metavar="TYPE", help="only these")
    parser.add_argument(
        "--aspects", nargs="+", choices=ASPECTS, default=QUICK_ASPECTS, metavar="ASPECT", help="only these"
    )
    parser.add_argument("--seconds", type=int, default=180, help="that a type may take")
    parser.add_argument("--results", type=Path, help="JSON file to write the verdicts and reasons to")
    parser.add_argument("--write", type=Path, help="Markdown file whose table is written anew")
    parser.add_argument(
        "--read", type=Path, nargs="+", help="JSON files of earlier runs, instead of checking"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.types) - set(EVERYTHING)
    if unknown:
        parser.error(
            f"{', '.join(sorted(unknown))} is no type of transformers' mapping, nor of {list(VARIANTS)}"
        )

    found = {}
    if arguments.read:
        for path in arguments.read:
            for name, by_aspect in json.loads(path.read_text()).items():
                found[name] = found.get(name, {}) | by_aspect
        found = {name: found[name] for name in EVERYTHING if name in found}
    else:
        for name, by_aspect in check(arguments.types, aspects=arguments.aspects, seconds=arguments.seconds):
            verdict_of = ", ".join(f"{aspect} {verdict}" for aspect, (verdict, _) in by_aspect.items())
            print(f"{time.strftime('%H:%M:%S')} {name}: {verdict_of}")
            for aspect, (verdict, reason) in by_aspect.items():
                if verdict != RIGHT:
                    print(f"    {aspect}: {reason}", flush=True)
            found[name] = by_aspect
            if arguments.results:
                arguments.results.write_text(json.dumps(found, indent=1))
    print("\n".join(count_lines(found)))
    if arguments.write:
        write(arguments.write, found)
    bad = sum(by_verdict[verdict] for by_verdict in counts(found).values() for verdict in VERDICTS[2:])
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
