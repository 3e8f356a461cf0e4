"""The most memory that a process held at a time."""

import re
import resource
from pathlib import Path


def peak_memory_bytes() -> int:
    """Most host memory (bytes) that this process held at a time.

    On Linux it is the kernel's VmHWM: ru_maxrss also counts what the parent held when it began the process.
    Elsewhere it is ru_maxrss, in bytes as on macOS.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
