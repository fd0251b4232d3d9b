"""`make run-telegram-double`: the double on loopback and the whole desk connected to it."""
from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading

import uvicorn

from bench.telegram_double.app import make_app
from bench.telegram_double.state import Double

TOKEN = "700000001:a-token-that-opens-only-the-double"


def main() -> int:
    """Serve the double; start the desk beside it unless told not to."""
    parser = argparse.ArgumentParser(prog="python -m bench.telegram_double", description=__doc__)
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--alone", action="store_true", help="do not start the desk")
    asked = parser.parse_args()
    base = f"http://127.0.0.1:{asked.port}"
    server = uvicorn.Server(uvicorn.Config(make_app(Double()), host="127.0.0.1", port=asked.port, log_level="warning",
                                           ws="none", timeout_graceful_shutdown=1))
    print(f"The phone: {base}/", flush=True)
    if asked.alone:
        print(f"Start the desk with WARMLINE_TELEGRAM_TOKEN={TOKEN} WARMLINE_TELEGRAM_API={base}", flush=True)
        server.run()
        return 0
    serving = threading.Thread(target=server.run, daemon=True)
    serving.start()
    environment = {**os.environ, "WARMLINE_TELEGRAM_TOKEN": TOKEN, "WARMLINE_TELEGRAM_API": base}
    desk = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "warmline", "run"], env=environment)
    signal.signal(signal.SIGTERM, lambda *_: desk.terminate())  # Ctrl-C reaches the desk by itself
    try:
        return desk.wait()
    except KeyboardInterrupt:
        return desk.wait()
    finally:
        server.should_exit = True
        serving.join(5)


if __name__ == "__main__":
    sys.exit(main())
