"""Take each input and parameter out of each rule in turn, and see that tests notice.

    python tests/mutants/run.py [--rules train,evaluate] [--limit 20] [--minutes 20] [--workers 2]

A mutant is a rule file in which one thing is missing: an option of a rule's command with its value, or an
entry of a rule's `input:` or `params:`. Each is tried in a checkout of its own by the tests that KILLERS
names, first of all as they are, without a mutant. Ends with 1 if a mutant survives or the time is up.
"""

import argparse
import contextlib
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from checkouts import ROOT, clone

RULES = Path("workflow/rules")
# A rule that a loop makes has no name of its own and is indented; it is called by its script.
_RULE = re.compile(r"^( *)(?:rule|checkpoint)(?: (\w+))?:\n((?:\1[ \t].*\n|\n)+)", re.MULTILINE)
_SCRIPT = re.compile(r"/(\w+)\.py")
_FIELD = r"\{(?:input|params|wildcards)\b[^{}]*\}"
_OPTION = re.compile(rf"\s(--[\w-]+)[ =]+\S*{_FIELD}\S*")
# Words that a parameter gives as a whole, and options within quotes of other words.
_WORDS = re.compile(rf"(?<=\s){_FIELD}(?=\s)")

SCRIPTS = "tests/contract/test_all_scripts.py::test_a_rerun_gives_the_same_bytes"
INPUTS = "tests/contract/test_declared_inputs.py"
HUB = "tests/contract/test_hub.py::test_the_rules_pin_and_fetch_what_the_settings_name"
WHOLE = "tests/workflow/test_whole_settings.py"
# Tests of a rule, in the order in which they are tried; the first that fails ends it.
KILLERS = {
    "pin_revisions": [INPUTS, HUB],
    "download_texts": [HUB],
    "download_model": [INPUTS, HUB],
    "write_data_card": [INPUTS, "tests/workflow/test_three_sources.py"],
    "publish_export": [INPUTS, "tests/contract/test_publish.py"],
    "index_references": [INPUTS, "tests/contract/test_texts_and_windows.py"],
    "estimate": ["tests/contract/test_estimate.py"],
    "score_windows": [INPUTS, f"{SCRIPTS}[score_short]", f"{SCRIPTS}[score_attention]", WHOLE],
    "select_windows": [INPUTS, f"{SCRIPTS}[select_windows]", "tests/contract/test_cascade.py", WHOLE],
    "report": [f"{INPUTS}::test_the_report_is_given_all_that_it_waits_for", WHOLE],
    "publish": ["tests/workflow/test_dry_runs.py"],
    "download": ["tests/workflow/test_three_sources.py"],
}
OTHERS = [INPUTS, SCRIPTS, WHOLE]


@dataclass(frozen=True)
class Mutant:
    """A rule file in which one thing of one rule is missing.

    Attributes:
        rule: name of the rule.
        missing: what was taken out, in a few words.
        path: the rule file, from the root.
        text: its content.
    """

    rule: str
    missing: str
    path: Path
    text: str


def mutants(path: Path, text: str) -> Iterator[Mutant]:
    """Every mutant of a rule file, in the order of the file."""
    for rule in _RULE.finditer(text):
        indent, start = rule[1], rule.start(3)
        name = rule[2] or _SCRIPT.search(rule[3])[1]
        pattern = rf"^{indent}    (\w+):(?: *\n((?:{indent}        .*\n|\n)+)| *\S.*\n)"
        for section in re.finditer(pattern, rule[3], re.MULTILINE):
            place = start + section.start()
            if section[1] in ("input", "params") and section[2]:
                cuts = _entries(section, start, len(indent))
            elif section[1] == "shell":
                cuts = _arguments(section[0], place)
            else:
                continue
            for missing, first, last in cuts:
                yield Mutant(name, f"{section[1]} {missing}", path, text[:first] + text[last:])


def _entries(section: re.Match, start: int, indent: int) -> Iterator[tuple[str, int, int]]:
    """Entries of a section: a first line indented by eight blanks more than the rule, and all that follows
    deeper."""
    blanks = indent + 8
    entry = re.compile(
        rf"^ {{{blanks}}}(?![\s#)\]}}])(.*)\n(?: {{{blanks + 1},}}.*\n| {{{blanks}}}[)\]}}].*\n|\n)*",
        re.MULTILINE,
    )
    found = list(entry.finditer(section[2]))
    for match in found:
        first, last = (start + section.start(2) + place for place in match.span())
        if len(found) == 1:  # no section is empty
            first, last = start + section.start(), start + section.end()
        keyword = re.match(r"(\w+)=(?!=)", match[1])
        yield keyword[1] if keyword else match[1].rstrip(","), first, last


def _arguments(shell: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Options with values from inputs, parameters and wildcards, and words that these give by themselves."""
    options = list(_OPTION.finditer(shell))
    for match in options:
        yield match[1], start + match.start(), start + match.end()
    for match in _WORDS.finditer(shell):
        if not any(option.start() <= match.start() < option.end() for option in options):
            yield match[0], start + match.start(), start + match.end()


def all_mutants(root: Path = ROOT) -> list[Mutant]:
    """Those of all rule files."""
    paths = sorted((root / RULES).glob("*.smk"))
    return [mutant for path in paths for mutant in mutants(path.relative_to(root), path.read_text())]


def killers(rule: str) -> list[str]:
    """Tests that notice what a rule lacks, as pytest's arguments."""
    return [f"{SCRIPTS}[{rule}]" if test == SCRIPTS else test for test in KILLERS.get(rule, OTHERS)]


class Checkout:
    """A checkout whose rules are changed and tested, with a process that runs its tests.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        clone(folder)
        self._tests = subprocess.Popen(
            [sys.executable, "-B", str(folder / "tests/mutants/forked_tests.py")],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder / "workflow"), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the process."""
        self._tests.stdin.close()
        self._tests.wait()

    def outcome(self, mutant: Mutant) -> tuple[bool, str]:
        """Whether a mutant dies, and the line by which."""
        path = self._folder / mutant.path
        before = path.read_text()
        path.write_text(mutant.text)
        try:
            return self.failure(killers(mutant.rule))
        finally:
            path.write_text(before)

    def failure(self, tests: list[str]) -> tuple[bool, str]:
        """Whether one of these tests fails, and the first error's line.

        Raises:
            RuntimeError: they could not be run.
        """
        with tempfile.TemporaryDirectory() as temporary:
            options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=short", "--show-capture=no"]
            self._tests.stdin.write(json.dumps([*options, "--basetemp", temporary, *tests]) + "\n")
            self._tests.stdin.flush()
            answer = self._tests.stdout.readline()
        if not answer:
            raise RuntimeError(
                f"the process of the tests ended with {self._tests.wait()}; its errors are above"
            )
        status, output = json.loads(answer)
        if status not in (0, 1):
            raise RuntimeError(f"pytest ended with {status}:\n{output[-4000:]}")
        errors = re.findall(r"^E +(?:\w+: )?(.*)", output, re.MULTILINE) or [""]
        failed = re.findall(r"^(?:FAILED|ERROR) \S*?(\w+\.py\S*)", output, re.MULTILINE) or [""]
        return status == 1, f"{failed[0]}: {errors[0]}"


def try_all(chosen: list[Mutant], *, workers: int, deadline: float, check: bool = True) -> list[Mutant]:
    """Try mutants side by side, and print how each ends.

    Args:
        chosen: mutants.
        workers: how many at a time.
        deadline: when none is begun any more, as `time.monotonic` counts.
        check: whether the tests are first run over the rules as they are.

    Returns:
        Those that survived or were not tried.

    Raises:
        RuntimeError: a test fails without a mutant.
    """
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    for number, mutant in enumerate(chosen, 1):
        waiting.put((number, mutant))
    left, faults = [], []

    def work(checkout: Checkout) -> None:
        try:
            while not faults:
                number, mutant = waiting.get_nowait()
                if time.monotonic() > deadline:
                    left.append(mutant)
                    print(
                        f"{number}/{len(chosen)} {mutant.rule}: without {mutant.missing}: not tried",
                        flush=True,
                    )
                    continue
                dies, line = checkout.outcome(mutant)
                if not dies:
                    left.append(mutant)
                said = f"dies by {line}" if dies else "SURVIVES"
                print(f"{number}/{len(chosen)} {mutant.rule}: without {mutant.missing}: {said}", flush=True)
        except queue.Empty:
            pass
        except Exception as fault:
            faults.append(fault)

    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folders = [Path(temporary, str(number)) for number in range(workers)]
        checkouts = [stack.enter_context(contextlib.closing(Checkout(folder))) for folder in folders]
        if check:
            tests = dict.fromkeys(test for mutant in chosen for test in killers(mutant.rule))
            fails, line = checkouts[0].failure(list(tests))
            if fails:
                raise RuntimeError(f"a test fails without a mutant: {line}")
        threads = [threading.Thread(target=work, args=(checkout,)) for checkout in checkouts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if faults:
        raise faults[0]
    return left


def main(argv: list[str] | None = None) -> int:
    """Try the mutants that were asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", type=lambda names: names.split(","), help="only these, by commas")
    parser.add_argument("--limit", type=int, help="only so many, spread over all")
    parser.add_argument("--minutes", type=float, default=20, help="when no mutant is begun any more")
    parser.add_argument("--workers", type=int, default=2, help="mutants at a time")
    parser.add_argument("--no-check", action="store_true", help="do not first run the tests without a mutant")
    parser.add_argument("--list", action="store_true", help="print them, and try none")
    options = parser.parse_args(argv)
    chosen = all_mutants()
    if options.rules:
        if unknown := set(options.rules) - {mutant.rule for mutant in chosen}:
            parser.error(f"no rule with inputs or parameters has the name {', '.join(sorted(unknown))}")
        chosen = [mutant for mutant in chosen if mutant.rule in options.rules]
    if options.limit is not None:
        chosen = chosen[:: max(1, -(-len(chosen) // options.limit))][: options.limit]
    if options.list:
        for mutant in chosen:
            print(f"{mutant.rule}: without {mutant.missing}")
        return 0
    start = time.monotonic()
    deadline = start + 60 * options.minutes
    left = try_all(chosen, workers=options.workers, deadline=deadline, check=not options.no_check)
    minutes = (time.monotonic() - start) / 60
    print(f"{len(chosen) - len(left)} of {len(chosen)} mutants die, in {minutes:.1f} minutes")
    for mutant in left:
        print(f"left: {mutant.rule}: without {mutant.missing}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
