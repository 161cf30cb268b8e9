"""Who is on the other side: a DICOM node or a DICOMweb server (layer: pacs)."""

from __future__ import annotations

import ipaddress
import string
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from ctrestorelib.core.errors import UsageError
from ctrestorelib.pacs.credentials import Credentials
from ctrestorelib.pacs.tls import Tls

OWN_AE_TITLE = "CTRESTORE"
"""Our application entity title, unless the archive knows us by another."""

_AE_SIGNS = set(string.ascii_letters + string.digits + string.punctuation + " ") - {"\\"}


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds; nothing waits for ever.

    Parameters
    ----------
    connect_s
        For the connection, with its encryption.
    answer_s
        For each answer, and for each block of bytes.
    """

    connect_s: float = 10.0
    answer_s: float = 60.0

    def __post_init__(self) -> None:
        if not (0 < self.connect_s <= 3600 and 0 < self.answer_s <= 3600):
            message = "A time limit must be more than 0 and at most 3600 seconds."
            raise UsageError(message)


@dataclass(frozen=True)
class DicomNode:
    """An archive that speaks DIMSE.

    Parameters
    ----------
    host, port
        Where it listens.
    called
        Its application entity (AE) title.
    calling
        Our AE title, by which the archive knows us.
    tls
        Encryption; None for a plain connection.

    Raises
    ------
    UsageError
        If the port or an AE title is not valid.
    """

    host: str
    port: int
    called: str
    calling: str = OWN_AE_TITLE
    tls: Tls | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            message = f"A port is a number from 1 to 65535; got {self.port}."
            raise UsageError(message)
        if not self.host or set(self.host) & set("/@ \\"):
            message = "The host must be a name or an address, without a path."
            raise UsageError(message, hint="Example: --host pacs.example.org")
        for title in (self.called, self.calling):
            _check_ae_title(title)

    @property
    def key(self) -> str:
        """What the journal calls this peer."""
        return f"dimse://{self.called.strip()}@{self.host}:{self.port}"

    @property
    def label(self) -> str:
        """What a sentence calls this peer."""
        return f"{self.called.strip()} at {self.host}:{self.port}"


@dataclass(frozen=True)
class DicomWebServer:
    """An archive that speaks DICOMweb.

    Parameters
    ----------
    url
        Root of its services, such as ``https://pacs.example.org/dicom-web``.
    credentials
        None for a server that asks for none.
    tls
        Whom to trust, with an ``https`` address.
    allow_plain
        Permit a password over an unencrypted connection to another machine.

    Raises
    ------
    UsageError
        If the address is not valid, holds a password, or would send one unencrypted.
    """

    url: str
    credentials: Credentials | None = None
    tls: Tls | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    allow_plain: bool = False

    def __post_init__(self) -> None:
        parts = split_url(self.url)
        if parts.scheme == "http" and self.tls is not None:
            message = "The address begins with http://, yet encryption is asked for."
            raise UsageError(message, hint="Use the archive's https:// address.")
        unsafe = parts.scheme == "http" and not is_this_machine(parts.hostname or "")
        if self.credentials is not None and unsafe and not self.allow_plain:
            message = "The password would cross the network unencrypted."
            hint = "Use the archive's https:// address, or accept the risk with --allow-plain."
            raise UsageError(message, hint=hint)

    @property
    def key(self) -> str:
        """What the journal calls this peer."""
        return self.url.rstrip("/")

    @property
    def host(self) -> str:
        """Name of the machine."""
        return split_url(self.url).hostname or ""

    @property
    def label(self) -> str:
        """What a sentence calls this peer."""
        return split_url(self.url).netloc


Peer = DicomNode | DicomWebServer


def split_url(url: str) -> SplitResult:
    """Return the parts of an address of a DICOMweb service.

    Raises
    ------
    UsageError
        If it is no http(s) address, or holds a user name, a password or a query. The address is
        not repeated, because it may hold a password.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or any(sign <= " " for sign in url):
        message = "The DICOMweb address must look like https://pacs.example.org/dicom-web."
        raise UsageError(message)
    if parts.username is not None or parts.password is not None:
        message = "The DICOMweb address must not hold a user name or password."
        raise UsageError(message, hint="Other users can see it. Give --credentials FILE instead.")
    if parts.query or parts.fragment:
        message = "The DICOMweb address must end with its path, without '?' or '#'."
        raise UsageError(message)
    return parts


def is_this_machine(host: str) -> bool:
    """Whether a host name means the machine we run on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_ae_title(title: str) -> None:
    if not 0 < len(title.strip()) <= 16 or len(title) > 16 or not set(title) <= _AE_SIGNS:
        message = "An AE title has 1 to 16 letters, digits and signs, without a backslash."
        raise UsageError(message, hint="Ask the archive's administrator for the exact title.")
