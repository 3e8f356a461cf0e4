"""Start a command with GPUs of its own: Snakemake counts the GPUs of this machine, but hands out none.

    python -m longspan_workflow.running.claim_devices 2 python -m torch.distributed.run …

Takes the locks of so many devices, names them in CUDA_VISIBLE_DEVICES and becomes the command, which holds
the locks as long as it lives; a kill frees them. Under SLURM, or without GPUs, the command starts as it is.
"""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from longspan.store.locks import holder_name, take


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

    Raises:
        ValueError: there are fewer devices than asked for.
    """
    if count > len(devices):
        raise ValueError(
            f"{count} GPUs are asked for, {len(devices)} can be used ({', '.join(devices)}); "
            "give --resources gpu=N as many as there are, and a training no more devices"
        )
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        # One claims at a time, or two could each hold a part of what both need.
        with open(folder / "claiming", "a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            free = [file for device in devices if (file := _lock(folder / f"{device}.lock"))]
            if len(free) >= count:
                return [_keep(file) for file in free[:count]]
            for file in free:
                file.close()
        time.sleep(0.2)


def _lock(path: Path):
    file = open(path, "a+")  # noqa: SIM115
    if take(file):
        return file
    file.close()
    return None


def _keep(file) -> str:
    file.truncate(0)
    file.write(holder_name())
    file.flush()
    # The program that this process becomes holds the lock by its descriptor.
    os.set_inheritable(os.dup(file.fileno()), True)
    return Path(file.name).stem


def main(arguments: list[str]) -> None:
    """Claim, then become the command."""
    count, command = int(arguments[0]), arguments[1:]
    devices = [] if "SLURM_JOB_ID" in os.environ else visible_devices()
    if devices:
        folder = Path(tempfile.gettempdir()) / f"longspan-devices-{os.getuid()}"
        try:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(claim(count, devices, folder))
        except ValueError as error:
            sys.exit(f"claim_devices: error: {error}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
