"""User name and password of a web archive, kept out of sight (layer: pacs).

They come from a file, from the environment or from a prompt; never from the command line, which
other users of the machine can see. They never appear in a ``repr``, an error or a log line.
"""

from __future__ import annotations

import base64
import netrc
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ctrestorelib.core.errors import InputError, UsageError

USER, PASSWORD, TOKEN = "CTRESTORE_PACS_USER", "CTRESTORE_PACS_PASSWORD", "CTRESTORE_PACS_TOKEN"
"""Environment variables that hold a user name and password, or a bearer token instead."""
FILE = "CTRESTORE_PACS_CREDENTIALS"
"""Environment variable that names the file of credentials."""

WAYS = (
    f"Give --credentials FILE, set {USER} and {PASSWORD} (or {TOKEN}), or add --login to be asked."
)


@dataclass(frozen=True)
class Credentials:
    """What proves to a web archive who we are.

    Parameters
    ----------
    user, password
        For HTTP Basic authentication.
    token
        Bearer token, used instead where it is given.
    """

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        whole = self.user + self.password + self.token
        if any(ord(sign) < 32 or ord(sign) == 127 for sign in whole) or ":" in self.user:
            message = "The user name, password or token holds a sign that HTTP cannot carry."
            raise UsageError(message, hint="Look for line breaks, and for ':' in the user name.")

    def header(self) -> str:
        """Return the value of the Authorization header."""
        if self.token:
            return f"Bearer {self.token}"
        pair = f"{self.user}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


def find_credentials(
    host: str, file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Credentials | None:
    """Return the credentials for a host, or None if nobody gave any.

    Looked at in this order: ``file``, the user and password (or token) of the environment, the
    file that the environment names.

    Raises
    ------
    InputError
        If a file of credentials is missing, damaged, readable by others, or lacks the host.
    UsageError
        If the environment names a user without a password.
    """
    known = os.environ if environment is None else environment
    if file is not None:
        return read_file(file, host)
    if known.get(TOKEN):
        return Credentials(token=known[TOKEN])
    if known.get(USER):
        if PASSWORD not in known:
            message = f"{USER} is set, but {PASSWORD} is not."
            raise UsageError(message, hint="Set both, or neither.")
        return Credentials(known[USER], known[PASSWORD])
    return read_file(Path(known[FILE]), host) if known.get(FILE) else None


def read_file(path: Path, host: str) -> Credentials:
    """Read a file in the form of ``.netrc``: ``machine HOST login USER password PASSWORD``.

    Raises
    ------
    InputError
        If it is missing, damaged, may be read by others (except on Windows, whose permissions are
        of another kind), or has no entry for the host.
    """
    _require_private(path)
    try:
        entry = netrc.netrc(str(path)).authenticators(host)
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
        # The cause is not chained: its text may quote a password.
        message = "The file of credentials cannot be understood."
        hint = "Expected are lines such as: machine pacs.example.org login NAME password WORD"
        raise InputError(message, hint=hint) from None
    if entry is None:
        message = f"The file of credentials has no entry for {host}."
        raise InputError(message, hint=f"Add a line: machine {host} login NAME password WORD")
    user, account, password = entry
    return Credentials(user or account or "", password or "")


def _require_private(path: Path) -> None:
    try:
        status = path.stat()
    except OSError:
        message = "The file of credentials does not exist or cannot be read."
        raise InputError(message, hint="Check its path.") from None
    if not stat.S_ISREG(status.st_mode):
        message = "The credentials must be in an ordinary file."
        raise InputError(message, hint="Check the path.")
    if os.name != "nt" and (status.st_mode & 0o077 or status.st_uid not in (os.getuid(), 0)):
        message = "Others can read or own the file of credentials; only you may."
        raise InputError(message, hint="Make it yours alone: chmod 600 FILE")
