"""Tokenizing from a cold process: the plain call, the fast path, datatrove's step, and ours; cutting windows.

    python benchmarks/tokenize_documents.py --model results/models/smollm2-135m --texts DIR [DIR …]
        [--megabytes 100] [--repeats 3] [--datatrove-python .datatrove/bin/python]

The texts are all files under the folders that are UTF-8 text, each content once, in an order drawn by a seed,
until so many megabytes are there. Each way runs in a process of its own, by turns, and counts from the
loading of its tokenizer to its result in memory; reading the texts and importing are left out. "ours" gives
character offsets too; "windows" cuts its tokens into spans with ids. A rule is the whole script, from tables
on the disk to one, its start included.

datatrove is in no extra: make an environment with datatrove, tokenizers and numpy, and name its Python. A
benchmark without it says so.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TEXTS = "texts.jsonl"
WINDOW_TOKENS = 2048


def plain_call(model, texts):
    from transformers import AutoTokenizer

    yield
    return count(AutoTokenizer.from_pretrained(model)(texts, verbose=False)["input_ids"])


def fast_path(model, texts):
    from transformers import AutoTokenizer

    yield
    tokenizer = AutoTokenizer.from_pretrained(model).backend_tokenizer
    return count(encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False))


def fast_path_with_offsets(model, texts):
    from tokenizers import Tokenizer

    yield
    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return count(encoding.ids for encoding in encodings if encoding.offsets is not None)


def datatrove_step(model, texts):
    from datatrove.data import Document
    from datatrove.pipeline.tokens import DocumentTokenizer

    yield
    with tempfile.TemporaryDirectory() as folder:
        step = DocumentTokenizer(
            folder, f"{model}/tokenizer.json", shuffle_documents=False, save_filename="t", batch_size=1000
        )
        step.run(Document(text=text, id=str(number)) for number, text in enumerate(texts))
        return sum(path.stat().st_size for path in Path(folder).glob("*.ds")) // step.token_size


def ours(model, texts):
    from longspan.tokens.byte_level import checked_tokenizer

    yield
    return sum(len(batch.input_ids) for batch in tokenized(checked_tokenizer, model, texts))


def tokenized(checked_tokenizer, model, texts):
    from longspan.tokens.tokenization import encode_batches

    def batches():
        batch, size = [], 0
        for text in texts:
            batch.append(text)
            size += len(text)
            if size >= 2**20:
                yield batch
                batch, size = [], 0
        yield batch

    tokenizer, _ = checked_tokenizer(model, [text[:4000] for text in texts[:64]])
    return list(encode_batches(tokenizer, batches()))


def windows(model, texts):
    from longspan.tokens.byte_level import checked_tokenizer
    from longspan.windows.assignment import Windowing, windows_of

    documents = [
        {"document_id": "", "category": "", **vars(document)}
        for batch in tokenized(checked_tokenizer, model, texts)
        for document in batch.documents()
    ]
    yield
    for _ in windows_of(documents, Windowing(WINDOW_TOKENS, "both_ends"), "id"):
        pass
    return count(document["input_ids"] for document in documents)


WAYS = {
    "plain": ("tok(texts)['input_ids']", plain_call),
    "fast": ("encode_batch_fast, ids alone", fast_path),
    "offsets": ("encode_batch, with offsets", fast_path_with_offsets),
    "datatrove": ("datatrove's DocumentTokenizer", datatrove_step),
    "ours": ("ours, with offsets and check", ours),
    "windows": (f"windows of {WINDOW_TOKENS:,} tokens", windows),
}


def count(documents):
    return sum(map(len, documents))


def measure_one(way: str, model: str, path: str) -> None:
    """Run one way in this process, and print its seconds and tokens."""
    texts = [json.loads(line) for line in Path(path).read_text().splitlines()]
    steps = WAYS[way][1](model, texts)
    next(steps)
    start = time.perf_counter()
    try:
        next(steps)
    except StopIteration as stop:
        print(json.dumps({"seconds": time.perf_counter() - start, "tokens": stop.value}))


def collect_texts(folders: list[str], megabytes: float) -> list[str]:
    seen, texts, size = set(), [], 0
    files = [path for folder in folders for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    random.Random(0).shuffle(files)
    for path in files:
        if path.is_symlink() or path.stat().st_size > 10_000_000:
            continue
        content = path.read_bytes()
        digest = hashlib.sha256(content).digest()
        try:
            text = content.decode()
        except UnicodeDecodeError:
            continue
        if digest in seen or "\0" in text or len(text) < 200:
            continue
        seen.add(digest)
        texts.append(text)
        size += len(content)
        if size >= megabytes * 1e6:
            return texts
    raise SystemExit(f"{', '.join(folders)} hold {size / 1e6:.0f} MB of distinct texts; name more folders")


def run_rules(model: str, documents: Path, folder: Path) -> dict[str, dict]:
    """Seconds and tokens of our rules, one after the other."""
    from longspan.store.tables import read_table

    tokens, windows = folder / "tokens.parquet", folder / "windows.parquet"
    settings = {"window_tokens": WINDOW_TOKENS, "policy": "both_ends", "add_bos": False, "sampling": {}}
    settings |= {"corpus": "texts", "seed": None}
    arguments = {
        "tokenize_documents": ["--tokens", str(tokens)],
        "assign_windows": [
            *("--settings", json.dumps(settings), "--id-prefix", "texts-00000"),
            *("--tokens", str(tokens), "--windows", str(windows)),
        ],
    }
    seconds = {}
    for path in (tokens, windows):
        path.unlink(missing_ok=True)
    for rule, own in arguments.items():
        script = Path(__file__).parents[1] / f"workflow/scripts/{rule}.py"
        common = ["--documents", str(documents), "--model", f"{model}/longspan.json"]
        start = time.perf_counter()
        subprocess.run([sys.executable, str(script), *common, *own], check=True, capture_output=True)
        seconds[rule] = time.perf_counter() - start
    num_tokens = count(read_table(tokens, "tokens", ["input_ids"])[0].column(0))
    return {rule: {"seconds": value, "tokens": num_tokens} for rule, value in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a folder under results/models")
    parser.add_argument("--texts", nargs="+", required=True, help="folders with text files")
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--datatrove-python", help="Python of an environment with datatrove")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        measure_one(arguments.way, arguments.model, arguments.texts[0])
        return
    from longspan.store.tables import TableWriter

    texts = collect_texts(arguments.texts, arguments.megabytes)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    results: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path, documents = Path(folder, TEXTS), Path(folder, "documents.parquet")
        path.write_text("".join(json.dumps(text) + "\n" for text in texts))
        origin = {"source": "", "category": "", "license": "", "title": ""}
        with TableWriter(documents, "documents", settings={}) as table:
            for number, text in enumerate(texts):
                table.append({"document_id": str(number), "text": text, **origin}, len(text))
        for repeat in range(arguments.repeats):
            for way in WAYS:
                python = arguments.datatrove_python if way == "datatrove" else sys.executable
                if python is None:
                    continue
                command = [python, __file__, "--way", way, "--model", arguments.model, "--texts", str(path)]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                results.setdefault(way, []).append(json.loads(said.splitlines()[-1]))
                print(repeat, way, results[way][-1], file=sys.stderr, flush=True)
            for rule, measured in run_rules(arguments.model, documents, Path(folder)).items():
                results.setdefault(rule, []).append(measured)

    print(
        f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores; "
        f"{megabytes:.0f} MB in {len(texts):,} texts; {arguments.repeats} repeats, medians"
    )
    if arguments.datatrove_python is None:
        print("datatrove: not measured, --datatrove-python names no Python that has it")
    print(f"{'':38} {'s':>8} {'MB/s':>8} {'Mtokens/s':>10} {'times plain':>12} {'tokens':>12}")
    plain = statistics.median(one["seconds"] for one in results["plain"])
    for way, runs in results.items():
        seconds = statistics.median(one["seconds"] for one in runs)
        name = WAYS[way][0] if way in WAYS else f"rule {way}, disk to disk"
        speed, times, num_tokens = megabytes / seconds, plain / seconds, runs[0]["tokens"]
        rate = num_tokens / seconds / 1e6
        print(f"{name:38} {seconds:8.2f} {speed:8.1f} {rate:10.2f} {times:12.1f} {num_tokens:12,}")


if __name__ == "__main__":
    main()
