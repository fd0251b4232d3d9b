"""Tells agents by e-mail: plain text, in their language, with a way back to the desk and nothing of the customer's."""
from __future__ import annotations

import asyncio
import contextlib
import re
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from crm_store.rules.personal_data import mask
from crm_store.services.deliveries import Outgoing
from gateway.mail_words import say_notice, say_word
from gateway.notifier import NotDelivered

TIMEOUT_SECONDS = 10.0  # of each step with the server
IMPLICIT_TLS_PORT = 465
OK = 250
SUBJECT_LENGTH = 120
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True)
class MailServer:
    """How mail leaves the house.

    Attributes:
        host: the server.
        port: its port; 465 speaks TLS from the first byte.
        user: who logs in; nobody where it is empty.
        password: with what.
        starttls: turn to TLS before anything else; a server that cannot is not used.
        sender: the address mail comes from, with or without a name.
        public_url: where agents reach the desk.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    starttls: bool
    sender: str
    public_url: str


class EmailAdapter:
    """Sends a notice to an agent's mailbox."""

    def __init__(self, server: MailServer, timeout: float = TIMEOUT_SECONDS) -> None:
        """``timeout`` is in seconds, of each step."""
        self._server = server
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="mail")

    async def send(self, delivery: Outgoing, now: datetime) -> int | None:
        """Hand a mail to the server.

        Raises:
            NotDelivered: the server cannot be reached or does not take it.
        """
        mail = write_mail(delivery, self._server, now)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hand_over, mail, delivery.address)

    def _hand_over(self, mail: EmailMessage, address: str) -> int:
        try:
            with contextlib.closing(self._connect()) as smtp:
                self._say(smtp, mail, address)
                with contextlib.suppress(smtplib.SMTPException, OSError):  # what was taken before stays taken
                    smtp.quit()
        except smtplib.SMTPRecipientsRefused as error:
            (code, _), = error.recipients.values()
            raise NotDelivered("address_refused", status=code, permanent=code >= 500) from error
        except smtplib.SMTPDataError as error:
            raise NotDelivered("mail_refused", status=error.smtp_code,
                               permanent=error.smtp_code >= 500) from error
        except smtplib.SMTPResponseException as error:  # the greeting, the login or the sender: so it is with each
            raise NotDelivered(f"server_refused: {type(error).__name__}", status=error.smtp_code,
                               target_down=True) from error
        except (smtplib.SMTPException, OSError) as error:
            raise NotDelivered(f"no_answer: {type(error).__name__}", target_down=True) from error
        return OK

    def _connect(self) -> smtplib.SMTP:
        host, port, name = self._server.host, self._server.port, parseaddr(self._server.sender)[1].rpartition("@")[2]
        if port == IMPLICIT_TLS_PORT:
            return smtplib.SMTP_SSL(host, port, name, timeout=self._timeout, context=ssl.create_default_context())
        return smtplib.SMTP(host, port, name, timeout=self._timeout)

    def _say(self, smtp: smtplib.SMTP, mail: EmailMessage, address: str) -> None:
        if self._server.starttls and self._server.port != IMPLICIT_TLS_PORT:
            smtp.starttls(context=ssl.create_default_context())
        if self._server.user:
            smtp.login(self._server.user, self._server.password)
        smtp.send_message(mail, parseaddr(self._server.sender)[1], [address])


def write_mail(delivery: Outgoing, server: MailServer, now: datetime) -> EmailMessage:
    """The mail of a delivery. Its Message-ID is the same at every attempt."""
    language = "en" if delivery.language == "en" else "zh"
    name, sender = parseaddr(server.sender)
    told = mask(_one_line(say_notice(delivery, language)))
    where = server.public_url.rstrip("/") + (
        f"/desk?conversation={delivery.conversation_id}" if delivery.conversation_id else "/desk")
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(_one_line(name) or say_word("product", language), addr_spec=sender)
    mail["To"] = Address(_one_line(delivery.name), addr_spec=delivery.address)
    mail["Subject"] = f"[{say_word('product', language)}] {told}"[:SUBJECT_LENGTH]
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{delivery.public_id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["Content-Language"] = "zh-Hans" if language == "zh" else "en"
    mail.set_content("\n\n".join((
        say_word("hello", language, name=_one_line(delivery.name)), told,
        say_word("open", language, url=where),
        say_word("why", language, url=f"{server.public_url.rstrip('/')}/desk/notifications"))) + "\n")
    return mail


def _one_line(text: str) -> str:
    """A text that cannot begin another line of a header."""
    return " ".join(_CONTROLS.sub(" ", text).split())
