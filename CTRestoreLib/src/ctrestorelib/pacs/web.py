"""HTTP as DICOMweb needs it, from the standard library alone (layer: pacs).

No redirects (data and password would follow them), no ``.netrc`` and no proxy from the
environment, a time limit on every wait, and answers read in bounded pieces.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from ctrestorelib.core.errors import PacsError
from ctrestorelib.pacs.credentials import WAYS
from ctrestorelib.pacs.diagnosis import explain
from ctrestorelib.pacs.peers import DicomWebServer, split_url
from ctrestorelib.pacs.tls import Tls

MAX_JSON_BYTES = 64 << 20
JSON = "application/dicom+json"
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Body:
    """What a request carries: pieces of bytes, and how many bytes they are together."""

    media_type: str
    length: int
    pieces: Iterable[bytes]


@dataclass(frozen=True)
class Answer:
    """An answer of the server, whose body is read by and by."""

    server: DicomWebServer
    response: http.client.HTTPResponse

    @property
    def status(self) -> int:
        """HTTP status code."""
        return self.response.status

    @property
    def media_type(self) -> str:
        """The Content-Type header."""
        return self.response.getheader("Content-Type", "")

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; nothing at the end."""
        try:
            return self.response.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise explain(error, self.server) from None

    def json(self) -> Any:
        """Return the body as plain values, or None if it is no JSON of bounded length."""
        data = self.read(MAX_JSON_BYTES + 1)
        try:
            return json.loads(data) if len(data) <= MAX_JSON_BYTES else None
        except (ValueError, RecursionError):
            return None

    def refuse(self) -> NoReturn:
        """Raise the error that the status means.

        Raises
        ------
        PacsError
            Always.
        """
        raise _refusal(self.server, self.status)


@contextmanager
def request(
    server: DicomWebServer, method: str, path: str, *, accept: str, body: Body | None = None
) -> Generator[Answer, None, None]:
    """Send a request and yield the answer.

    Raises
    ------
    PacsError
        If the server cannot be reached, does not answer in time, or breaks off.
    """
    link = _connection(server)
    try:
        try:
            response = _exchange(server, link, (method, path), accept, body)
        except (OSError, http.client.HTTPException) as error:
            raise explain(error, server) from None
        yield Answer(server, response)
    finally:
        link.close()


def _connection(server: DicomWebServer) -> http.client.HTTPConnection:
    parts, wait_s = split_url(server.url), server.timeouts.connect_s
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=wait_s)
    context = (server.tls or Tls()).context()
    return http.client.HTTPSConnection(host, parts.port, timeout=wait_s, context=context)


def _exchange(
    server: DicomWebServer,
    link: http.client.HTTPConnection,
    asked: tuple[str, str],
    accept: str,
    body: Body | None,
) -> http.client.HTTPResponse:
    link.connect()
    link.sock.settimeout(server.timeouts.answer_s)
    headers = {"Accept": accept, "User-Agent": "CTRestore", "Connection": "close"}
    if server.credentials is not None:
        headers["Authorization"] = server.credentials.header()
    if body is not None:
        headers |= {"Content-Type": body.media_type, "Content-Length": str(body.length)}
    try:
        method, path = asked
        target = split_url(server.url).path.rstrip("/") + path
        link.request(method, target, None if body is None else iter(body.pieces), headers)
    except (BrokenPipeError, ConnectionResetError):
        # A server may refuse (no password, too large) before it has read everything.
        return _early_answer(link)
    return link.getresponse()


def _early_answer(link: http.client.HTTPConnection) -> http.client.HTTPResponse:
    # http.client would say "request not finished": the body is as finished as it will be.
    response = http.client.HTTPResponse(link.sock, method="POST")
    response.begin()
    return response


def _refusal(server: DicomWebServer, status: int) -> PacsError:
    name = server.label
    if status == 401 and server.credentials is None:
        return PacsError(f"{name} asks for a user name and a password (HTTP 401).", hint=WAYS)
    if status == 401:
        message = f"{name} did not accept the user name and password (HTTP 401)."
        return PacsError(message, hint="Check them; nothing was stored with this request.")
    if status == 403:
        message = f"{name} does not permit this to our user (HTTP 403)."
        return PacsError(message, hint="Ask its administrator for the right to do so.")
    if 300 <= status < 400:
        message = f"{name} sends us to another address (HTTP {status}), which we do not follow."
        return PacsError(message, hint="Give the address that it really has.")
    if status in (404, 405, 501):
        message = f"{name} has no such service under this address (HTTP {status})."
        return PacsError(message, hint="Check the path of the address, such as /dicom-web.")
    message = f"{name} answered with an error (HTTP {status})."
    hint = "Try again later; see the archive's log."
    return PacsError(message, hint=hint, transient=status in _TRANSIENT)
