"""What a person at the terminal sees. Progress and sentences go to stderr, results to stdout.

Libraries print banners and bars of their own, some from C, some to stdout. `quiet` sends file
descriptors 1 and 2 to a log and keeps copies of the real ones for us, so `--json` stays clean.
"""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class Console:
    """Writes lines, bars and results. One per process: `console`."""

    def __init__(self) -> None:
        self._err: TextIO | None = None
        self._out: TextIO | None = None
        self._aside: TextIO | None = None

    @property
    def err(self) -> TextIO:
        return self._aside or self._err or sys.stderr

    @contextmanager
    def aside(self, log: Path) -> Iterator[None]:
        """For the block, what would be said here goes to `log`; a terminal keeps its live bar."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as self._aside:
            try:
                yield
            finally:
                self._aside = None

    def quiet(self, log: Path) -> None:
        """From here to the end of the process, what libraries print goes to `log`."""
        if self._err is not None:
            return
        log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self._out = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), "utf-8", write_through=True)
        self._err = io.TextIOWrapper(os.fdopen(os.dup(2), "wb"), "utf-8", write_through=True)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)

    def say(self, text: str = "") -> None:
        print(text, file=self.err, flush=True)

    def trace(self) -> None:
        """The traceback of the error that is being handled, for --debug."""
        traceback.print_exc(file=self.err)

    def result(self, text: str) -> None:
        print(text, file=self._out or sys.stdout, flush=True)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Bar]:
        terminal = self._err or sys.stderr
        kept = self._aside is None or not terminal.isatty()
        bar = Bar(self.err if kept else terminal, what, max(total, 1), kept)
        try:
            yield bar
        finally:
            bar.close()


class Bar:
    """A bar with time left on a terminal; elsewhere a line every 15 seconds.

    Its last line stays where it is `kept`.
    """

    def __init__(self, out: TextIO, what: str, total: int, kept: bool = True) -> None:
        self.out, self.what, self.total, self.kept = out, what, total, kept
        self.begun, self.done, self.written, self.note = 0, 0, -1, ""
        self.started = self.shown = time.monotonic()
        self.live = out.isatty()
        self.every = 0.2 if self.live else 15.0
        self._show()

    def go_on(self, done: int) -> None:
        """So many were done before: they say nothing of how long the rest takes."""
        self.begun = self.done = done

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        self.done = min(self.done + steps, self.total)
        if note is not None:
            self.note = note
        if time.monotonic() - self.shown >= self.every:
            self._show()

    def _line(self) -> str:
        passed = time.monotonic() - self.started
        left = ""
        if self.begun < self.done < self.total:
            rate = passed / (self.done - self.begun)
            left = f", {span(rate * (self.total - self.done))} left"
        note = f"  {self.note}" if self.note else ""
        return f"{self.what} {self.done}/{self.total} ({span(passed)}{left}){note}"

    def _show(self) -> None:
        self.shown = time.monotonic()
        if self.live:
            width = 20
            full = width * self.done // self.total
            bar = "█" * full + "░" * (width - full)
            self.out.write(f"\r\033[K  {bar} {self._line()}")
            self.out.flush()
        elif self.done:
            self.written = self.done
            print(f"  {self._line()}", file=self.out, flush=True)

    def say(self, text: str) -> None:
        """A line of its own above the bar."""
        if self.live:
            self.out.write("\r\033[K")
            self.out.flush()
        console.say(text)
        if self.live:
            self._show()

    def close(self) -> None:
        if self.live:
            self.out.write("\r\033[K")
        if self.kept and (self.live or self.written != self.done):
            print(f"  {self._line()}", file=self.out, flush=True)


def span(seconds: float) -> str:
    """1h02m, 3m05s or 12s."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


console = Console()
