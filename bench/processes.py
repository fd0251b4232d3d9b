"""Starts what is measured as real processes and reads their memory."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx
import psutil

START_WITHIN = 300.0


def free_ports(count: int) -> list[int]:
    """Ports on loopback that are free now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Started:
    """A process tree that runs until the block ends."""

    def __init__(self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], log: Path,
                 ready: Callable[[], bool]) -> None:
        self._command, self._cwd, self._log, self._ready = command, cwd, log, ready
        self._environment = {**os.environ, **environment}
        self.start_seconds = 0.0

    def __enter__(self) -> Started:
        began = time.perf_counter()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self._command, cwd=self._cwd, env=self._environment, stdout=log,
                                             stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        while not self._ready():
            if self._process.poll() is not None or time.perf_counter() - began > START_WITHIN:
                self.__exit__()
                sys.exit(f"bench: {self._command[3:6]} did not start; see {self._log}")
            time.sleep(0.1)
        self.start_seconds = time.perf_counter() - began
        return self

    @property
    def pid(self) -> int:
        """The process id of its root."""
        return self._process.pid

    def memory_mb(self) -> float:
        """Proportional memory (PSS) of the tree in MB: pages shared between processes count once."""
        root = psutil.Process(self._process.pid)
        return float(sum(process.memory_full_info().pss for process in [root, *root.children(recursive=True)]) / 1e6)

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def answers(url: str, check: Callable[[httpx.Response], bool]) -> Callable[[], bool]:
    """A check that ``url`` answers, and as it should."""
    def ready() -> bool:
        try:
            return check(httpx.get(url, timeout=5))
        except httpx.HTTPError:
            return False

    return ready
