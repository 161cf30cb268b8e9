"""A DICOM association that cannot hang, with refusals in words (layer: pacs)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from ctrestorelib.core.errors import PacsError
from ctrestorelib.pacs.diagnosis import diagnose, explain
from ctrestorelib.pacs.peers import DicomNode
from ctrestorelib.pacs.silence import silence

Context = tuple[str, tuple[str, ...]]
"""A SOP class and the transfer syntaxes offered for it."""

MAX_CONTEXTS = 128
_REFUSALS = {
    (1, 2): ("it does not know DICOM's application context", "Check the port."),
    (1, 3): (
        "it does not know our AE title {calling!r}",
        "Have this title registered there, or give the registered one with --calling-aet.",
    ),
    (1, 7): ("its AE title is not {called!r}", "Check --aet: titles count capitals."),
    (2, 2): ("it speaks another version of the protocol", "Ask its administrator."),
    (3, 1): ("it is busy", "Try again later."),
    (3, 2): ("it has too many connections", "Try again later."),
}


@cache
def require_pynetdicom() -> None:
    """Return if pynetdicom is installed.

    Raises
    ------
    PacsError
        If not, with the command that installs it.
    """
    try:
        import pynetdicom  # noqa: F401
    except ImportError:
        message = "Sending and fetching by AE title needs the Python package pynetdicom."
        hint = "Install it with: pip install 'ctrestorelib[pacs]'; or use --dicomweb."
        raise PacsError(message, hint=hint) from None


@contextmanager
def associated(
    node: DicomNode,
    contexts: Sequence[Context],
    *,
    roles: Sequence[Any] = (),
    handlers: Sequence[Any] = (),
) -> Generator[Any, None, None]:
    """Yield an established association; release it afterwards, abort it after an error.

    Parameters
    ----------
    node
        Whom to call.
    contexts
        What to offer.
    roles
        Role selection items of pynetdicom (for C-GET).
    handlers
        pairs of pynetdicom's event and function.

    Raises
    ------
    PacsError
        If there is no such peer, or it refuses.
    """
    require_pynetdicom()
    with silence():
        try:
            link = _request(node, contexts, roles, handlers)
        except OSError as error:  # the host's name cannot be resolved
            raise explain(error, node) from None
        try:
            if not link.is_established:
                raise _refusal(node, link)
            yield link
            if link.is_established:
                link.release()
        except BaseException:
            if link.is_established:
                link.abort()
            raise
        finally:
            # Its thread may still log what it received; it must end before the silence does.
            if link.dul.is_alive():
                link.dul.join(1.0)


def _request(
    node: DicomNode, contexts: Sequence[Context], roles: Sequence[Any], handlers: Sequence[Any]
) -> Any:
    from pynetdicom import AE, evt
    from pynetdicom.presentation import build_context

    ae = AE(ae_title=node.calling)
    ae.connection_timeout = node.timeouts.connect_s
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = node.timeouts.answer_s
    return ae.associate(
        node.host,
        node.port,
        contexts=[build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in contexts],
        ae_title=node.called,
        ext_neg=list(roles),
        tls_args=(node.tls.context(), node.host) if node.tls else None,
        evt_handlers=[(evt.EVT_CONN_OPEN, bound_waiting, [node.timeouts.answer_s]), *handlers],
    )


def bound_waiting(event: Any, seconds: float) -> None:
    """Set a time limit for each read and write, when pynetdicom says that a connection is open.

    By itself it reads and writes without one: half a message would block it for ever.
    """
    event.assoc.dul.socket.socket.settimeout(seconds)


def _refusal(node: DicomNode, link: Any) -> PacsError:
    if link.is_rejected:
        return _rejection(node, link.acceptor.primitive)
    if link.rejected_contexts:
        message = f"{node.label} accepts none of the kinds of object that we have to exchange."
        hint = "Ask its administrator to allow CT images, queries and retrieval for our AE title."
        return PacsError(message, hint=hint)
    return diagnose(node)


def _rejection(node: DicomNode, answer: Any) -> PacsError:
    source, reason = answer.result_source, answer.diagnostic
    words, hint = _REFUSALS.get((source, reason), ("it gave no reason", "Ask its administrator."))
    words = words.format(calling=node.calling, called=node.called)
    message = f"{node.label} refused the association: {words}."
    return PacsError(message, hint=hint, transient=answer.result == 2 or source == 3)
