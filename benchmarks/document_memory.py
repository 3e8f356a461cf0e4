"""Peak memory of each rule on one document of 50 MB, and on JSON lines with a line of 1 GB.

    python benchmarks/document_memory.py --model results/models/smollm2-135m [--megabytes 50]
        [--line-megabytes 1000] [--tokenizers]

On Linux. The document is Python's own sources, one behind another, and a character outside the basic plane,
for which Python takes four bytes a character. The long line is passed over, the others are read.
`--tokenizers` hides fastokens, so that the tokenizers library does the work.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "workflow/scripts"
MEASURING = """
import runpy, sys
from longspan.process.peak_memory import peak_memory_bytes
sys.argv = sys.argv[1:]
sys.path.insert(0, {folder!r})
if {hide}:
    sys.modules["fastokens"] = None
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(peak_memory_bytes())
"""
SOURCE = {
    **{"category": "c", "license": "l", "encoding": "utf-8", "boilerplate": "none", "text_column": "text"},
    **{"title_column": None, "id_column": None, "group_by": None, "hold_out": []},
}
WINDOWS = {"corpus": "c", "window_tokens": 2048, "policy": "both_ends", "add_bos": False, "sampling": {}}


def long_text(megabytes: float) -> str:
    """So many megabytes of real text."""
    sources = sorted(Path(os.__file__).parent.rglob("*.py"))
    parts, size = ["🌊\n"], 0
    while size < megabytes * 1e6:
        for path in sources:
            parts.append(path.read_text(encoding="utf-8", errors="ignore").replace("\0", ""))
            size += len(parts[-1].encode())
            if size >= megabytes * 1e6:
                break
    return "".join(parts).encode()[: int(megabytes * 1e6)].decode(errors="ignore")


def write_long_line(path: Path, megabytes: float) -> None:
    """JSON lines of which the middle one is so long."""
    with open(path, "w") as file:
        file.write('{"text": "short"}\n{"text": "')
        for _ in range(round(megabytes)):
            file.write("x" * 1_000_000)
        file.write('"}\n{"text": "the last"}\n')


def peak_megabytes(rule: str, *arguments: str, hide_fastokens: bool = False) -> tuple[float, float]:
    """Seconds and peak memory (MB) of a rule's script."""
    program = MEASURING.format(folder=str(SCRIPTS.parent), hide=hide_fastokens)
    command = [sys.executable, "-c", program, str(SCRIPTS / f"{rule}.py"), *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - start, int(done.stdout.splitlines()[-1]) / 1e6


def measure(
    folder: Path, path: Path, model: Path | None, *, hide_fastokens: bool = False
) -> dict[str, tuple]:
    """Seconds and peak memory of each rule on one raw file; without a model only to the documents."""
    plan, tables = (
        folder / "plan",
        {name: str(folder / f"{name}.parquet") for name in ("documents", "dropped")},
    )
    planning = {"sources": [SOURCE | {"kind": "files", "paths": [str(path)]}], "shards": 1}
    planning |= {"drop_duplicates": True, "seed": 0}
    reading = {"on_bad_document": "skip", "clean_up": {}}
    found = {}

    def run(rule: str, *arguments: str, settings: dict | None = None, **options) -> None:
        given = [] if settings is None else ["--settings", json.dumps(settings)]
        found[rule] = peak_megabytes(rule, *given, *arguments, **options)

    index = str(folder / "plan.json")
    run("plan_shards", "--plan-folder", str(plan), "--index", index, settings=planning)
    documents = ["--documents", tables["documents"]]
    dropped = ["--dropped", tables["dropped"]]
    run("read_documents", "--plan", str(plan / "00000.json"), *documents, *dropped, settings=reading)
    if model is None:
        return found
    manifest = ["--model", str(model / "longspan.json")]
    tokens = ["--tokens", str(folder / "tokens.parquet")]
    windows = ["--windows", str(folder / "windows.parquet")]
    run("tokenize_documents", *documents, *manifest, *tokens, hide_fastokens=hide_fastokens)
    cutting = [*tokens, *windows, "--id-prefix", "c-00000"]
    run("assign_windows", *documents, *manifest, *cutting, settings=WINDOWS | {"seed": None})
    export = ["--export", str(folder / "export.parquet"), "--manifest", str(folder / "export.json")]
    exporting = {"format": "parquet", "loss": None, "seed": None}
    run("export_windows", *documents, *tokens, *windows, "--shard", "00000", *export, settings=exporting)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a folder under results/models")
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("--line-megabytes", type=float, default=1000)
    parser.add_argument("--tokenizers", action="store_true", help="without fastokens")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("text.txt", "rows.jsonl", "line.jsonl"):
            part, path = Path(folder, name).with_suffix(""), Path(folder, name)
            model = arguments.model
            if name == "line.jsonl":
                write_long_line(path, arguments.line_megabytes)
                model = None
            else:
                text = long_text(arguments.megabytes)
                path.write_text(text if name == "text.txt" else json.dumps({"text": text}) + "\n")
            size = path.stat().st_size / 1e6
            for rule, (seconds, peak) in measure(
                part, path, model, hide_fastokens=arguments.tokenizers
            ).items():
                print(f"{name} of {size:,.0f} MB: {rule:20} {peak:8.0f} MB {seconds:8.1f} s", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
