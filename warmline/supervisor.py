"""Starts the processes, prefixes their logs, restarts the one that dies, ends them all together.

A child that dies is started again after 1, 2, 4 … 30 s; one that stayed up for a minute starts the count anew. Ctrl-C
or SIGTERM ends every child: first politely, after a grace period by force. Children also die with the supervisor itself
(a death signal on Linux), so that a killed supervisor leaves no port taken.
"""
from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

BACKOFF_FIRST, BACKOFF_LAST = 1.0, 30.0
STEADY_AFTER = 60.0
GRACE = 10.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Program:
    """A process to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


def backoff(restarts: int) -> float:
    """Seconds to wait before restart number ``restarts`` (from 1): doubling, up to half a minute."""
    return float(min(BACKOFF_FIRST * 2 ** (restarts - 1), BACKOFF_LAST))


def _in_a_group_of_its_own() -> None:
    """Be signalled together with what it starts, and die with the parent.

    Not a session of its own: Linux shares the processors out between sessions first, and a niceness counts within one.
    """
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervised:
    """One program and its current process."""

    def __init__(self, program: Program, say: Callable[[str, str], None]) -> None:
        self.program = program
        self.restarts = 0
        self.restart_at: float | None = None
        self._say = say
        self._started = 0.0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the program and a thread that passes its output on."""
        self.restart_at = None
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            self.program.command, env=dict(self.program.environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", bufsize=1,
            preexec_fn=_in_a_group_of_its_own)
        threading.Thread(target=self._pass_output_on, args=(self.process,), daemon=True).start()

    def _pass_output_on(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._say(self.program.name, line.rstrip("\n"))

    def look_after(self) -> None:
        """Notice a death and plan the restart, or carry out a planned one."""
        now = time.monotonic()
        if self.restart_at is not None:
            if now >= self.restart_at:
                self.start()
            return
        if self.process is None or self.process.poll() is None:
            return
        if now - self._started > STEADY_AFTER:
            self.restarts = 0
        self.restarts += 1
        wait = backoff(self.restarts)
        self.restart_at = now + wait
        how = _how(self.process.returncode)
        self._say("warmline", f"{self.program.name} ended ({how}); starting it again in {wait:g} s")

    def signal(self, number: int) -> None:
        """Send a signal to the program and everything it started."""
        if self.process is not None and self.process.poll() is None:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                pass


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


class Supervisor:
    """Keeps programs running until it is told to stop."""

    def __init__(self, programs: Sequence[Program], say: Callable[[str, str], None]) -> None:
        self.children = [Supervised(program, say) for program in programs]
        self._say = say
        self._stop = threading.Event()

    def start(self) -> None:
        """Start every program."""
        for child in self.children:
            child.start()

    def stop(self, *_: object) -> None:
        """Ask ``run`` to end; safe in a signal handler."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stop.is_set()

    def run(self, each_round: Callable[[], None] = lambda: None) -> None:
        """Look after the programs until ``stop``, calling ``each_round`` several times a second; then end them."""
        try:
            while not self._stop.wait(0.2):
                for child in self.children:
                    child.look_after()
                each_round()
        finally:
            self.end()

    def end(self) -> None:
        """End every program, politely first."""
        for child in self.children:
            child.restart_at = None
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for child in self.children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.signal(signal.SIGKILL)
                child.process.wait()
