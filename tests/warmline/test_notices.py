"""The running service sends what is queued, by the ways that are set up."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crm_store.database import Store
from crm_store.models import SupportAgent, Team
from crm_store.services import notice_settings
from crm_store.services.notices import notify
from warmline.clock import now
from warmline.service import make_app, notice_adapters
from warmline.settings import load_settings

MAIL = {"WARMLINE_SMTP_HOST": "mail.example.com", "WARMLINE_MAIL_FROM": "Desk <desk@example.com>"}


class Receiver:
    """An HTTP server that says when it was told something."""

    def __init__(self) -> None:
        self.told = threading.Event()
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()
                told.set()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.server.shutdown()
    running.thread.join(10)
    running.server.server_close()


def test_mail_goes_out_only_where_a_server_is_set(tmp_path: Path) -> None:
    assert set(notice_adapters(load_settings({}, root=tmp_path))) == {"webhook"}
    assert set(notice_adapters(load_settings(MAIL, root=tmp_path))) == {"webhook", "email"}


def test_links_lead_where_browsers_reach_the_service(tmp_path: Path) -> None:
    assert load_settings({"WARMLINE_PORT": "8100"}, root=tmp_path).link_url == "http://localhost:8100"
    public = {"WARMLINE_PUBLIC_URL": "https://desk.example.com/"}
    assert load_settings(public, root=tmp_path).link_url == "https://desk.example.com"


def test_the_service_sends_what_is_queued(sqlite_store: Store, tmp_path: Path, receiver: Receiver) -> None:
    with sqlite_store.write() as session:
        team = Team(name="front line", level="front_line")
        session.add(team)
        session.flush()
        agent = SupportAgent(login="a", name="A", password_hash="-", role="manager", team_id=team.id, languages=["en"],
                             created_at=now())
        session.add(agent)
        session.flush()
        notice_settings.create_webhook(session, agent, name="ops", kinds=[], now=now(),
                                       url=f"http://127.0.0.1:{receiver.server.server_address[1]}/")
        notify(session, [agent.id], kind="sla_breached", key="k1", now=now())
    settings = load_settings({"WARMLINE_DATABASE_URL": sqlite_store.url, "WARMLINE_WEBHOOK_PRIVATE": "true"},
                             root=tmp_path)
    with TestClient(make_app(settings, sqlite_store)):
        assert receiver.told.wait(30)
