"""In every Python of a job: record what it was given; die, wait or stay away as the test says by files.

Lies on PYTHONPATH. $PROBE is a folder: a line of jobs.jsonl for each start and end of a script, `die_SCRIPT`
(removed by the first that finds it, which then dies), `wait_SCRIPT` (who finds it waits until it is gone).
"""

import atexit
import json
import os
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ.get("PROBE", "."))
# Rules that share a script are told apart by the kind that it is given.
SCORE_RULES = {
    "short_nll": "score_short",
    "attention": "score_attention",
    "ladm": "score_ladm",
    "prolong": "score_prolong",
}


def _record(**what):
    names = ("SLURM_JOB_ID", "SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES", "HF_TOKEN", "RANK", "WORLD_SIZE")
    line = what | {"time": time.time(), "pid": os.getpid(), **{name: os.environ.get(name) for name in names}}
    with open(FOLDER / "jobs.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")


def _probe():
    scripts = [Path(part).stem for part in sys.orig_argv if "/workflow/scripts/" in part]
    # torchrun has the script among its arguments, but is not the script.
    if not scripts or "-m" in sys.orig_argv[:3]:
        return
    if scripts[0] == "score_windows":
        scripts = [SCORE_RULES[sys.orig_argv[sys.orig_argv.index("--kind") + 1]]]
    _record(script=scripts[0], event="start")
    atexit.register(_record, script=scripts[0], event="end")
    try:
        (FOLDER / f"die_{scripts[0]}").unlink()
    except FileNotFoundError:
        pass
    else:
        os.kill(os.getpid(), signal.SIGKILL)
    wait = FOLDER / f"wait_{scripts[0]}"
    deadline = time.monotonic() + 400
    while wait.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


if "PROBE" in os.environ:
    _probe()
