"""Who may ask, and what a browser may do with the answer (layer: apps).

Against other web pages: the Host header (DNS rebinding), the Origin header (requests made by a
foreign page) and headers that forbid framing, foreign content and requests to other machines.
Against people: a token, compared in constant time, with a pause after wrong ones.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from ctrestorelib.core.errors import UsageError

TOKEN_VARIABLE = "CTRESTORE_TOKEN"
MIN_TOKEN_CHARACTERS = 16

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Return whether this address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def token_from_environment() -> tuple[str, bool]:
    """Return the key of this run, and whether it was made here (then it has to be shown).

    The environment variable ``CTRESTORE_TOKEN`` gives the operator's own.

    Raises
    ------
    UsageError
        If the operator's key is short enough to be guessed.
    """
    given = os.environ.get(TOKEN_VARIABLE)
    if given is None:
        return secrets.token_urlsafe(32), True
    check_token(given)
    return given, False


def check_token(token: str) -> None:
    """Refuse a key that is short enough to be guessed, or that does not fit into a link.

    Raises
    ------
    UsageError
        If it is.
    """
    if len(token) < MIN_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable():
        message = (
            f"The key of the page needs at least {MIN_TOKEN_CHARACTERS} plain characters, got "
            f"{len(token)}; it is all that keeps others out."
        )
        hint = f"Unset {TOKEN_VARIABLE}: a strong key is then made and printed."
        raise UsageError(message, hint=hint)


def same_secret(given: str, expected: str) -> bool:
    """Compare two secrets in a time that tells nothing about where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


class Throttle:
    """Counts wrong tokens per address; after too many, that address has to wait.

    Parameters
    ----------
    allowed
        Wrong tokens within the window before the pause.
    window_s
        Length of the window and of the pause, in seconds.
    """

    _MAX_ADDRESSES = 4096

    def __init__(self, allowed: int = 5, window_s: float = 60.0) -> None:
        self._allowed, self._window_s = allowed, window_s
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Return how long this address has to wait, 0 if it may try."""
        now = time.monotonic()
        times = [t for t in self._wrong.get(address, []) if now - t < self._window_s]
        if len(times) < self._allowed:
            return 0.0
        return self._window_s - (now - times[-self._allowed])

    def wrong(self, address: str) -> None:
        """Note a wrong token."""
        times = self._wrong.pop(address, [])
        self._wrong[address] = [*times, time.monotonic()][-self._allowed :]
        while len(self._wrong) > self._MAX_ADDRESSES:
            self._wrong.popitem(last=False)


class Hosts:
    """The names under which the gateway may be called.

    A page on the internet can make its own name point at this machine and so speak to it as if it
    were the same site. It cannot do so with an address in digits, nor with a name it does not own.
    The port is not compared: a tunnel (``ssh -L``) often has another one.

    Parameters
    ----------
    host
        Address to listen on. On loopback only loopback's own names count.
    extra
        Further names, such as that of a proxy in front (``--allow-host``).
    """

    def __init__(self, host: str, extra: Iterable[str] = ()) -> None:
        self._loopback_only = is_loopback(host)
        names = {name.lower().rstrip(".") for name in extra} | _LOOPBACK_NAMES
        if not self._loopback_only:
            own = socket.gethostname().lower()  # not getfqdn: that asks other machines
            names |= {host.lower(), own, f"{own}.local"}
        self._names = names

    def allow(self, host_header: str) -> bool:
        """Return whether a request with this Host header is meant for the gateway."""
        name = _name_of(host_header)
        if name is None:
            return False
        return name in self._names or (not self._loopback_only and _is_address(name))


def _name_of(host_header: str) -> str | None:
    try:
        parts = urlsplit(f"//{host_header}")
        _ = parts.port  # raises if it is no number
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or not parts.hostname:
        return None
    return parts.hostname.rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_own_origin(headers: Mapping[str, str]) -> bool:
    """Return whether the Origin header names this very site; a missing one does not."""
    origin = urlsplit(headers.get("Origin", ""))
    own = headers.get("Host", "").lower()
    return origin.scheme in ("http", "https") and bool(own) and origin.netloc.lower() == own


def is_foreign_fetch(headers: Mapping[str, str]) -> bool:
    """Return whether a page of another site asks for a part of ours, as an image or a script."""
    site = headers.get("Sec-Fetch-Site", "none")
    return site in ("cross-site", "same-site") and headers.get("Sec-Fetch-Mode") != "navigate"


def page_policy(host_header: str) -> str:
    """Return the Content-Security-Policy of the page itself.

    Vue compiles its templates in the browser and Vuetify writes its theme into a style element,
    so ``unsafe-eval`` and ``unsafe-inline`` are needed. What remains is that nothing is loaded
    from, or sent to, another machine, and that no other page can frame this one.
    """
    sockets = f" ws://{host_header} wss://{host_header}"  # some browsers' 'self' leaves them out
    return (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        f"media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self'{sockets}; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    )


OWN_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the gateway's own pages: text and one button."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers then send "Origin: null" with a form, and forms would be refused.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
}
"""Sent with every answer."""
