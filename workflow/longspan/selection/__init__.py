"""Which windows are kept, and why."""
