"""Makes `.venv` from the lock files. Runs on any Python 3.7 or newer, before anything is installed.

    python3 warmline/bootstrap.py [--dev]

Finds Python 3.10, creates `.venv`, installs exactly what the lock files pin and compiles it to bytecode (Rasa starts
twice as fast so). Does nothing when the lock files have not changed since.
"""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
WANTED = (3, 10)
MISSING = """Warmline needs Python 3.10, and found none (Rasa 3.6 runs on no newer one). Any of these gives it:

    uv python install 3.10        pyenv install 3.10        apt-get install python3.10 python3.10-venv

then run the command again. A Python elsewhere can be named: WARMLINE_PYTHON=/path/to/python3.10 make run"""


def version_of(program: str | Path) -> tuple[int, ...] | None:
    """The (major, minor) version of a Python, or None where it does not run."""
    try:
        answer = subprocess.run([str(program), "-c", "import sys, venv, ensurepip; print(*sys.version_info[:2])"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=True)
        return tuple(int(part) for part in answer.stdout.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def candidates() -> Iterator[str]:
    """Where a Python 3.10 may be, most explicit first."""
    named = os.environ.get("WARMLINE_PYTHON")
    if named:
        yield named
        return
    yield sys.executable
    for name in ("python3.10", "python3", "python"):
        found = shutil.which(name)
        if found:
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for path in sorted(pyenv.glob("versions/3.10*/bin/python"), reverse=True):
        yield str(path)
    uv = shutil.which("uv")
    if uv:
        answer = subprocess.run([uv, "python", "find", "3.10"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                check=False)
        if answer.returncode == 0:
            yield answer.stdout.decode().strip()


def find_python() -> str:
    """A Python 3.10 that can make virtual environments; ends the program with clear words when there is none."""
    for candidate in candidates():
        if version_of(candidate) == WANTED:
            return candidate
    sys.exit(MISSING)


def install(locks: Sequence[Path], mark: Path) -> None:
    """Install the lock files into `.venv`, unless `mark` says that these very ones are there."""
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    if PYTHON.exists() and mark.exists() and mark.read_text() == digest:
        return
    if version_of(PYTHON) != WANTED:
        python = find_python()
        print(f"Creating .venv with {python}", flush=True)
        shutil.rmtree(str(VENV), ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(VENV)], check=True)
    for lock in locks:
        print(f"Installing {lock.name} (a few minutes the first time)", flush=True)
        command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--require-hashes", "--requirement", str(lock)]
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit(f"The packages of {lock.name} could not be installed; pip says why above.")
    mark.write_text(digest)


def main() -> None:
    """Install what the command line asks for."""
    locks = [ROOT / "requirements.lock"]
    mark = VENV / "installed"
    if "--dev" in sys.argv[1:]:
        locks.append(ROOT / "requirements-dev.lock")
        mark = VENV / "installed-dev"
    install(locks, mark)


if __name__ == "__main__":
    main()
