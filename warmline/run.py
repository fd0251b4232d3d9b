"""`make run`: prepares what is missing, starts the processes, waits until all work, says where to go.

The steps are shown as they go; each is skipped when it has nothing to do, so the second start is short. What can be
known beforehand to be wrong (a taken port, an unreachable database) is said in one line before anything starts.
"""
from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

import httpx
from rich.console import Console

from warmline.errors import CommandFailed
from warmline.settings import PREFIX, ROOT, Settings

READY_WITHIN = 240.0
COLOURS = {"bot": "cyan", "actions": "magenta", "service": "green", "warmline": "yellow"}
DEMO_LOGINS = (("wangmin", "agent"), ("lina", "agent"), ("chenwei", "agent"), ("zhaolei", "lead"),
               ("manager", "manager"), ("admin", "admin"))
DEMO_CUSTOMERS = ("WLC00001", "WLC00002")

console = Console(highlight=False, soft_wrap=True)


def prepare(settings: Settings) -> None:
    """Migrate, load the demo shop, train, embed: each only when needed."""
    from warmline import commands
    from warmline.training import needs_training

    steps: list[tuple[str, Callable[[], object]]] = [
        ("Bringing the CRM store up to date", lambda: commands.migrate(settings))]
    if settings.demo:
        steps.append(("Loading the demo shop", lambda: commands.demo(settings)))
    if needs_training(settings):
        steps.append(("Training the dialogue model (a minute or two)", lambda: commands.train(settings)))
    steps.append(("Reading the articles and solved cases", lambda: commands.embed(settings)))
    for number, (words, step) in enumerate(steps, start=1):
        started = time.monotonic()
        with console.status(f"[{number}/{len(steps)}] {words} …"):
            step()
        console.print(f"[green]✓[/green] {words} [dim]{time.monotonic() - started:.1f} s[/dim]")


def check_ports(settings: Settings) -> None:
    """Fail in one line where a port is taken."""
    wanted = ((settings.host, settings.port, "PORT"), ("127.0.0.1", settings.bot_port, "BOT_PORT"),
              ("127.0.0.1", settings.actions_port, "ACTIONS_PORT"))
    for host, port, name in wanted:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise CommandFailed(f"port {port} on {host} cannot be used ({error.strerror}); "
                                    f"end what uses it or choose another with {PREFIX}{name}") from error


def run_all(settings: Settings) -> int:
    """Prepare, start, wait, print, look after; until Ctrl-C."""
    from warmline.supervisor import Program, Supervisor

    check_ports(settings)
    for name in settings.weak_secrets:
        console.print(f"[yellow]![/yellow] {name} is short; use 16 characters or more outside of trials")
    prepare(settings)
    environment = {**os.environ, **settings.environment(), "PYTHONUNBUFFERED": "1"}
    programs = [Program(name, [sys.executable, "-W", "ignore", "-m", "warmline", name], environment)
                for name in ("actions", "bot", "service")]
    supervisor = Supervisor(programs, _say)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, supervisor.stop)
    os.chdir(ROOT)
    supervisor.start()
    threading.Thread(target=_announce_when_ready, args=(settings, supervisor), daemon=True).start()
    supervisor.run()
    console.print("Warmline has ended.")
    return 0


def _say(name: str, line: str) -> None:
    colour = COLOURS.get(name, "white")
    console.print(f"[{colour}]{name:>8}[/{colour}] │ ", end="")
    console.print(line, markup=False, style="dim" if name != "warmline" else "")


def _announce_when_ready(settings: Settings, supervisor: object) -> None:
    """Wait until every part works, then print the addresses; name the parts that are late."""
    deadline, told = time.monotonic() + READY_WITHIN, 0.0
    while not getattr(supervisor, "stopping", False):
        waiting = _not_ready(settings)
        if not waiting:
            _print_addresses(settings)
            return
        if time.monotonic() > deadline:
            _say("warmline", f"not ready after {READY_WITHIN:.0f} s: {', '.join(waiting)}; the logs above say why")
            deadline += READY_WITHIN
        elif time.monotonic() - told > 10:
            told = time.monotonic()
            _say("warmline", f"starting; waiting for {', '.join(waiting)}")
        time.sleep(0.5)


def _not_ready(settings: Settings) -> list[str]:
    try:
        parts = httpx.get(f"{settings.service_url}/readyz", timeout=10).json()["parts"]
        return [name for name, state in parts.items() if state != "ok"]
    except (httpx.HTTPError, ValueError, KeyError):
        return ["service"]


def customer_link(settings: Settings, store: object, number: str) -> str | None:
    """The chat address that signs customer ``number`` in, or None when there is no such customer."""
    from sqlalchemy import select

    from crm_store.database import Store
    from crm_store.models import Customer
    from gateway.web_chat import sign_customer

    assert isinstance(store, Store)
    with store.read() as session:
        if session.execute(select(Customer.id).where(Customer.number == number)).first() is None:
            return None
    return f"{_public(settings)}/?customer={sign_customer(settings.secret, number)}"


def _public(settings: Settings) -> str:
    host = "localhost" if settings.host in ("0.0.0.0", "::", "127.0.0.1") else settings.host
    return f"http://{host}:{settings.port}"


def _print_addresses(settings: Settings) -> None:
    from crm_store.database import Store

    base = _public(settings)
    lines = ["", "[bold]Warmline is ready.[/bold]  Ctrl-C ends it.", "",
             f"  Chat as a guest    {base}/"]
    store = Store(settings.database_url)
    for number, name in zip(DEMO_CUSTOMERS, ("李雷 (Gold)", "Ann Miller (Platinum)"), strict=True):
        address = customer_link(settings, store, number) if settings.demo else None
        if address:
            lines.append(f"  Chat as {name}    {address}")
    store.close()
    lines += [f"  Agent desk         {base}/desk", f"  Manager console    {base}/manage/logs",
              f"  API                {base}/api/openapi.json"]
    if settings.demo:
        logins = ", ".join(f"{login} ({role})" for login, role in DEMO_LOGINS)
        lines += ["", f"  Logins: {logins}; password: {settings.demo_password}"]
    lines += ["", f"  HTTP channel token: in {settings.data_folder / 'secrets.env'}, or your {PREFIX}HTTP_TOKEN", ""]
    for line in lines:
        console.print(line)
