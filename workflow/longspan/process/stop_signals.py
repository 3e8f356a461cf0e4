"""SIGTERM and SIGUSR1, by which a scheduler announces the end of a job."""

import signal
import threading
from types import FrameType

HEEDED = (signal.SIGTERM, signal.SIGUSR1)


class StopSignals:
    """Remembers the first of the signals that came while it is entered, instead of ending the process.

    Entered outside the main thread it heeds none, since Python gives signals to that thread alone.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._before: dict = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in HEEDED}
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
