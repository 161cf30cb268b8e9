"""Why a connection failed, as a sentence with a way out (layer: pacs)."""

from __future__ import annotations

import http.client
import socket
import ssl

from ctrestorelib.core.errors import PacsError
from ctrestorelib.pacs.peers import DicomNode, Peer

_BROKEN = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, EOFError,
           http.client.IncompleteRead, http.client.RemoteDisconnected)  # fmt: skip


def explain(error: Exception, peer: Peer) -> PacsError:
    """Return the error that a failed connection or exchange means."""
    name = peer.label
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        message = f"The certificate of {name} is not to be trusted: {reason}."
        hint = "Give the archive's own certificate authority with --ca, and its exact host name."
        return PacsError(message, hint=hint)
    if isinstance(error, TimeoutError):
        message = f"{name} did not answer in time."
        hint = "Check host and port, and that the archive is running."
        return PacsError(message, hint=hint, transient=True)
    if isinstance(error, ConnectionRefusedError):
        message = f"Nothing listens for {name}: the connection was refused."
        hint = "Check host and port, and that the archive is running."
        return PacsError(message, hint=hint, transient=True)
    if isinstance(error, socket.gaierror):
        message = f"The host of {name} is not known."
        return PacsError(message, hint="Check the spelling of the host name.")
    if isinstance(error, _BROKEN):
        message = f"{name} closed the connection before it had answered."
        return PacsError(message, hint="Try again; see the archive's log.", transient=True)
    return _explain_rest(error, name)


def _explain_rest(error: Exception, name: str) -> PacsError:
    if isinstance(error, ssl.SSLError):
        message = f"No encrypted connection to {name}: {error.reason or 'TLS failed'}."
        hint = "Check that this port speaks TLS, and whether it wants our certificate (--cert)."
        return PacsError(message, hint=hint)
    if isinstance(error, http.client.HTTPException):
        message = f"{name} does not answer like a web server."
        return PacsError(message, hint="Check the address and the port of DICOMweb.")
    reason = error.strerror if isinstance(error, OSError) else None
    message = f"The connection to {name} failed: {reason or type(error).__name__}."
    return PacsError(message, hint="Check host, port and network.", transient=True)


def diagnose(node: DicomNode) -> PacsError:
    """Connect once more by hand to find out why no association came about.

    pynetdicom tells its reasons only to its log.
    """
    try:
        with socket.create_connection((node.host, node.port), node.timeouts.connect_s) as plain:
            if node.tls is None:
                return _silent(node)
            with node.tls.context().wrap_socket(plain, server_hostname=node.host):
                return _silent(node)
    except (OSError, ValueError) as error:
        return explain(error, node)


def _silent(node: DicomNode) -> PacsError:
    message = f"{node.label} took the connection, but does not answer as a DICOM node."
    hint = "Check the port, and whether the archive wants TLS (--tls) or our certificate (--cert)."
    return PacsError(message, hint=hint, transient=True)
