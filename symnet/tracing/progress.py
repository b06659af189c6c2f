"""What is being done, shown on a terminal when it takes longer than two seconds."""

from __future__ import annotations

import sys
import time

_PATIENCE, _PERIOD = 2.0, 0.2  # seconds


class Progress:
    """One line on standard error that is written over; nothing where that is no terminal."""

    def __init__(self) -> None:
        self.started = self.shown = time.monotonic()
        self.width = 0
        self.active = sys.stderr is not None and sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Shows what is being done, at most a few times per second."""
        now = time.monotonic()
        if self.active and now - self.started > _PATIENCE and now - self.shown > _PERIOD:
            self.shown = now
            line = text[:100]
            sys.stderr.write(f"\r{line:<{self.width}}")
            sys.stderr.flush()
            self.width = max(self.width, len(line))

    def done(self) -> None:
        """Takes the line away."""
        if self.width:
            sys.stderr.write(f"\r{'':<{self.width}}\r")
            sys.stderr.flush()
            self.width = 0
