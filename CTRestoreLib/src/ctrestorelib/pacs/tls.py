"""Encryption of a connection: whom to trust, and how to identify oneself (layer: pacs)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from ctrestorelib.core.errors import InputError, UsageError


@dataclass(frozen=True)
class Tls:
    """Settings of an encrypted connection; the peer's certificate and name are always checked.

    Parameters
    ----------
    ca
        PEM file with the certificates to trust instead of the system's.
    certificate
        PEM file with our own certificate, for archives that ask for one.
    key
        PEM file with its private key, if not in the same file. It must not be encrypted.

    Raises
    ------
    UsageError
        If a key comes without a certificate.
    InputError
        If one of the files does not exist.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if self.key is not None and self.certificate is None:
            message = "A private key was given without its certificate."
            raise UsageError(message, hint="Give both --cert and --key, or neither.")
        for path in (self.ca, self.certificate, self.key):
            if path is not None and not path.is_file():
                message = f"The certificate or key file {path.name} does not exist."
                raise InputError(message, hint="Give PEM files; ask the archive's administrator.")

    def context(self) -> ssl.SSLContext:
        """Return a client context of TLS 1.2 or newer.

        Raises
        ------
        InputError
            If a file is not PEM, or the key does not belong to the certificate.
        """
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError):
            message = "A certificate or key file cannot be used."
            hint = (
                "Expected are unencrypted PEM files: the trusted certificates (--ca), and our own "
                "certificate with its key (--cert, --key)."
            )
            raise InputError(message, hint=hint) from None
        return context


def _no_password() -> str:
    # Without this, OpenSSL would ask at the terminal.
    message = "the key is encrypted"
    raise ValueError(message)
