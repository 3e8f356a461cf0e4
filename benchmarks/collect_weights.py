"""Memory and time of collecting a store of frozen scores, and of reading it by random access.

    python benchmarks/collect_weights.py [--windows 10000] [--tokens 32768] [--shards 100] [--folder DIR]

Writes a store of random NLL through the library's own writers, a shard at a time; then runs the script
collect_weights, and reads windows in random order through its index. Each step is a process of its own, whose
peak of resident memory the kernel keeps.
"""

import argparse
import contextlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from longspan.process.peak_memory import peak_memory_bytes

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "collect_weights.py"


def write(folder: Path, options: argparse.Namespace) -> dict:
    """Tokens, windows and scores of all shards."""
    import numpy as np

    from longspan.scoring.store import ScoreWriter
    from longspan.store.tables import read_table, write_table
    from longspan.windows.assignment import tokens_digest
    from longspan.windows.store import WindowStore

    draw = np.random.default_rng(0)
    shards = np.array_split(np.arange(options.windows), options.shards)
    for number, part in enumerate(shards):
        shard = f"{number:05d}"
        tokens, windows, scores = (
            folder / kind / f"{shard}.parquet" for kind in ("tokens", "windows", "scores")
        )
        # One document, of which each window begins a token later: scores are what shall be many.
        ids = draw.integers(0, 2**15, options.tokens + len(part), dtype=np.int32)
        document = {"document_id": shard, "input_ids": ids, "char_deltas": [0], "split_positions": []}
        write_table(tokens, "tokens", [document], settings={}, inputs={"documents": "d"}, tokenizer="t" * 64)
        rows = [
            {
                "data_id": f"random-{shard}_{place:07d}",
                "document_id": shard,
                "category": "random",
                "token_start": place,
                "token_stop": place + options.tokens,
                "char_start": place,
                "char_stop": place + options.tokens,
                "tokens_digest": tokens_digest(ids[place : place + options.tokens]),
            }
            for place in range(len(part))
        ]
        write_table(
            windows,
            "windows",
            rows,
            settings={"window_tokens": options.tokens, "bos_token_id": None},
            inputs={"tokens": read_table(tokens, "tokens", ["document_id"])[1].data_digest},
            tokenizer="t" * 64,
        )
        store = WindowStore({shard: (tokens, windows)})
        without = frozenset({"long_nll"})
        with ScoreWriter(scores, "nll_scores", store, settings={}, without=without) as writer:
            for data_id in store.data_ids:
                nll = draw.uniform(0, 12, options.tokens - 1).astype(np.float16)
                writer.append([{"data_id": data_id, "short_nll": nll}])
            writer.finish()
    size = sum(path.stat().st_size for path in (folder / "scores").iterdir())
    return {"what": f"{size / 1e9:.2f} GB of scores written"}


def collect(folder: Path, options: argparse.Namespace) -> dict:
    """The script, as the rule runs it."""
    arguments = ["--windows", folder / "windows", "--scores", folder / "scores"]
    arguments += ["--shards", options.shards, "--index", folder / "scores" / "index.parquet"]
    sys.argv = [str(SCRIPT), *map(str, arguments)]
    with contextlib.redirect_stdout(sys.stderr):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return {"what": f"{options.windows:,} windows collected"}


def read(folder: Path, options: argparse.Namespace) -> dict:
    """Windows in random order, tokens and scores, as a training reads them."""
    import numpy as np

    from longspan.scoring.index import IndexedScores
    from longspan.store.shards import shard_files
    from longspan.training.windows import TrainingWindows
    from longspan.windows.store import WindowStore

    tokens, tables, scores = (
        shard_files(folder / kind, options.shards) for kind in ("tokens", "windows", "scores")
    )
    windows = WindowStore({shard: (tokens[shard], tables[shard]) for shard in tokens})
    index = IndexedScores(folder / "scores" / "index.parquet", scores, windows.windows_digests)
    dataset = TrainingWindows(windows, windows.data_ids, index)
    places = np.random.default_rng(1).permutation(len(dataset))[: options.reads]
    start = time.perf_counter()
    for place in places:
        item = dataset[int(place)]
        assert len(item["short_nll"]) == len(item["input_ids"]) - 1
    milliseconds = 1000 * (time.perf_counter() - start) / len(places)
    return {"what": f"{len(places):,} windows read at random, {milliseconds:.1f} ms each"}


STEPS = {"write": write, "collect": collect, "read": read}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=32_768, help="tokens of a window")
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--reads", type=int, default=1000, help="windows to read at random")
    parser.add_argument("--folder", type=Path, help="where to write; otherwise a temporary folder")
    parser.add_argument("--step", choices=STEPS, help="only this step, on what is in the folder")
    options = parser.parse_args()
    if options.step:
        start = time.perf_counter()
        found = STEPS[options.step](options.folder, options)
        seconds = time.perf_counter() - start
        print(json.dumps(found | {"seconds": seconds, "peak_bytes": peak_memory_bytes()}))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for step in STEPS:
            command = [sys.executable, __file__, *sys.argv[1:], "--folder", folder, "--step", step]
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
            found = json.loads(result.stdout)
            peak_gb = found["peak_bytes"] / 1e9
            print(f"{found['what']}: {found['seconds']:.1f} s, peak {peak_gb:.2f} GB", flush=True)


if __name__ == "__main__":
    main()
