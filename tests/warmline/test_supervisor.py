"""The supervisor restarts what dies, passes output on, and leaves nothing behind."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from warmline.supervisor import Program, Supervisor, backoff


def test_backoff_doubles_up_to_half_a_minute() -> None:
    assert [backoff(n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path(f"/proc/{pid}").exists() else False


def test_a_killed_child_is_started_again_and_everything_ends_with_the_supervisor() -> None:
    said: list[tuple[str, str]] = []
    pids: list[int] = []
    came_back = threading.Event()

    def say(name: str, line: str) -> None:
        said.append((name, line))
        if name == "child" and line.startswith("pid "):
            pids.append(int(line.split()[1]))
            if len(pids) == 1:
                os.kill(pids[0], signal.SIGKILL)
            else:
                came_back.set()

    code = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
    supervisor = Supervisor([Program("child", [sys.executable, "-c", code], dict(os.environ))], say)
    supervisor.start()
    runner = threading.Thread(target=supervisor.run)
    runner.start()
    assert came_back.wait(30)
    supervisor.stop()
    runner.join(30)
    assert not runner.is_alive()
    assert len(pids) == 2 and pids[0] != pids[1]
    assert not any(alive(pid) for pid in pids)
    assert ("warmline", "child ended (signal SIGKILL); starting it again in 1 s") in said


def test_children_die_with_a_killed_supervisor() -> None:
    code = """
import sys, os
from warmline.supervisor import Program, Supervisor
child = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
program = Program("c", [sys.executable, "-c", child], dict(os.environ))
s = Supervisor([program], lambda name, line: print(line, flush=True))
s.start(); s.run()
"""
    root = Path(__file__).resolve().parent.parent.parent
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    for _ in range(100):
        if not alive(child):
            break
        threading.Event().wait(0.05)
    assert not alive(child)
