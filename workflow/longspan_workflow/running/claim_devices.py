"""Start a command with GPUs of its own: Snakemake counts the GPUs of this machine, but hands out none.

    python -m longspan_workflow.running.claim_devices 2 python -m torch.distributed.run …

Takes the locks of so many devices, names them in CUDA_VISIBLE_DEVICES and becomes the command, which holds
the locks as long as it lives; a kill frees them. Under SLURM, or without GPUs, the command starts as it is.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from longspan.store.locks import holder_name, take
from longspan.store.permissions import make_private

# Between two times that a waiting job says what it waits for.
SECONDS_BETWEEN_WORDS = 600


def visible_devices() -> list[str]:
    """Devices of this machine that the command may use: those that CUDA_VISIBLE_DEVICES names, or all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [device for device in named.split(",") if device]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []
    return [str(number) for number in range(listed.count("GPU "))]


def claim(count: int, devices: list[str], folder: Path) -> list[str]:
    """Wait for so many free devices and lock them until this process ends, also as another program.

    While it waits it says on stderr, now and then, who holds them.

    Raises:
        ValueError: there are fewer devices than asked for.
        OSError: the folder is not this user's alone.
    """
    if count > len(devices):
        raise ValueError(
            f"{count} GPUs are asked for, {len(devices)} can be used ({', '.join(devices)}); "
            "give --resources gpu=N as many as there are, and a training no more devices"
        )
    make_private(folder)
    said = -math.inf
    while True:
        # One claims at a time, or two could each hold a part of what both need.
        with ExitStack() as opened:
            if take(opened.enter_context(_open(folder / "claiming"))):
                files = {name: opened.enter_context(_open(folder / f"{name}.lock")) for name in devices}
                free = [device for device, file in files.items() if take(file)]
                if len(free) >= count:
                    for device in free[:count]:
                        _keep(files[device])
                    return free[:count]
                if time.monotonic() - said >= SECONDS_BETWEEN_WORDS:
                    said = time.monotonic()
                    _say_who_holds(count, {name: file for name, file in files.items() if name not in free})
        time.sleep(0.2)


def _open(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")


def _say_who_holds(count: int, held: dict[str, IO[str]]) -> None:
    holders = "; ".join(f"{device} is held by {_holder(file)}" for device, file in held.items())
    print(f"claim_devices: waiting for {count} of the GPUs: {holders}", file=sys.stderr, flush=True)


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return file.read() or "another process"


def _keep(file: IO[str]) -> None:
    file.truncate(0)
    file.write(holder_name())
    file.flush()
    # The program that this process becomes holds the lock by its descriptor.
    os.set_inheritable(os.dup(file.fileno()), True)


def main(arguments: list[str]) -> None:
    """Claim, then become the command."""
    count, command = int(arguments[0]), arguments[1:]
    devices = [] if "SLURM_JOB_ID" in os.environ else visible_devices()
    if devices:
        folder = Path(tempfile.gettempdir()) / f"longspan-devices-{os.getuid()}"
        try:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(claim(count, devices, folder))
        except (ValueError, OSError) as error:
            sys.exit(f"claim_devices: error: {error}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
