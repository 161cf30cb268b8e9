"""Storage commitment: the archive promises to keep what it has (layer: pacs).

The promise (N-EVENT-REPORT) may come over the association that asked for it, or over one that the
archive opens to us (DICOM PS3.4, Annex J). So we listen while we wait, and only then; only on the
network interface that faces the archive; only to a caller with the archive's AE title. To an
archive with which we speak encrypted we do not listen at all: a caller without encryption could
be anyone, so there only the first way counts.
"""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from ctrestorelib.core.errors import PacsError
from ctrestorelib.pacs.association import associated, bound_waiting, require_pynetdicom
from ctrestorelib.pacs.instances import Instance
from ctrestorelib.pacs.peers import DicomNode
from ctrestorelib.pacs.silence import silence
from ctrestorelib.pacs.statuses import words_of

_MODEL = "1.2.840.10008.1.20.1"
_WELL_KNOWN = "1.2.840.10008.1.20.1.1"
_PLAIN = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")


def commit(
    node: DicomNode, instances: Sequence[Instance], port: int, wait_s: float = 60.0
) -> dict[str, str]:
    """Ask for a commitment and wait for it; return the instances refused, with the reason.

    Parameters
    ----------
    node
        The archive.
    instances
        What it has acknowledged.
    port
        Where the archive reaches our AE title, as registered there.
    wait_s
        How long to wait for the promise, in seconds.

    Returns
    -------
    dict
        SOP instance UID -> words; empty if everything is committed.

    Raises
    ------
    PacsError
        If the archive knows no storage commitment, refuses, or makes no promise in time.
    """
    require_pynetdicom()
    promise = _Promise("2.25." + str(uuid.uuid4().int))
    with _hearing(node, port, promise):
        _ask(node, instances, promise, wait_s)
    return promise.judge(instances)


class _Promise:
    """The answer of the archive, once it comes."""

    def __init__(self, transaction: str) -> None:
        self.transaction = transaction
        self._came = threading.Event()
        self._kept: set[str] = set()
        self._failed: dict[str, str] = {}

    def receive(self, event: Any) -> tuple[int, None]:
        """Handle an N-EVENT-REPORT of pynetdicom; return its status."""
        try:
            report = event.event_information
            if str(report.TransactionUID) != self.transaction:
                return 0x0115, None  # invalid argument value
            self._failed = {
                str(item.ReferencedSOPInstanceUID): words_of(int(item.FailureReason))
                for item in report.get("FailedSOPSequence") or ()
            }
            kept = report.get("ReferencedSOPSequence") or ()
            self._kept = {str(item.ReferencedSOPInstanceUID) for item in kept}
        except Exception:  # noqa: BLE001 - whatever a peer sends must not end this thread
            return 0x0110, None
        self._came.set()
        return 0x0000, None

    def wait(self, seconds: float, node: DicomNode) -> None:
        """Return when the promise came; :class:`PacsError` if it does not."""
        if not self._came.wait(seconds):
            message = f"{node.label} did not confirm within {seconds:g} s that it keeps the images."
            hint = "Check that it knows our address and port; the images themselves are stored."
            raise PacsError(message, hint=hint, transient=True)

    def judge(self, instances: Sequence[Instance]) -> dict[str, str]:
        """Return what is not kept, with the reason; silence is no promise."""
        silent = "The archive said nothing about this instance."
        return {i.uid: self._failed.get(i.uid, silent) for i in instances
                if i.uid not in self._kept or i.uid in self._failed}  # fmt: skip


def _ask(node: DicomNode, instances: Sequence[Instance], promise: _Promise, wait_s: float) -> None:
    from pynetdicom import evt

    handlers = [(evt.EVT_N_EVENT_REPORT, promise.receive)]
    with associated(node, [(_MODEL, _PLAIN)], handlers=handlers) as link:
        status, _reply = link.send_n_action(
            _request(instances, promise.transaction), 1, _MODEL, _WELL_KNOWN
        )
        if "Status" not in status:
            message = f"{node.label} stopped answering the request for storage commitment."
            raise PacsError(message, hint="Try again later.", transient=True)
        if status.Status != 0:
            message = f"{node.label} refused storage commitment (0x{int(status.Status):04X})."
            raise PacsError(message, hint="Check the list with --verify instead.")
        promise.wait(wait_s, node)


def _request(instances: Sequence[Instance], transaction: str) -> Any:
    import pydicom

    request = pydicom.Dataset()
    request.TransactionUID = transaction
    items = []
    for instance in instances:
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID = instance.sop_class
        item.ReferencedSOPInstanceUID = instance.uid
        items.append(item)
    request.ReferencedSOPSequence = items
    return request


@contextmanager
def _hearing(node: DicomNode, port: int, promise: _Promise) -> Generator[None, None, None]:
    if node.tls is not None:
        yield
        return
    with _listening(node, port, promise):
        yield


@contextmanager
def _listening(node: DicomNode, port: int, promise: _Promise) -> Generator[None, None, None]:
    from pynetdicom import AE, evt

    ae = AE(ae_title=node.calling)
    ae.add_supported_context(_MODEL, list(_PLAIN), scu_role=True, scp_role=True)
    ae.require_called_aet, ae.require_calling_aet = True, [node.called]
    ae.maximum_associations = 2
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = node.timeouts.answer_s
    handlers = [
        (evt.EVT_N_EVENT_REPORT, promise.receive),
        (evt.EVT_CONN_OPEN, bound_waiting, [node.timeouts.answer_s]),
    ]
    with silence():
        try:
            server = ae.start_server((_facing(node), port), block=False, evt_handlers=handlers)
        except OSError as error:
            message = f"We cannot listen on port {port}: {error.strerror or error}."
            raise PacsError(message, hint="Give a free port with --commit-port.") from None
        try:
            yield
        finally:
            server.shutdown()


def _facing(node: DicomNode) -> str:
    """Return our address on the network that leads to the archive (nothing is sent)."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            node.host, node.port, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as error:
        message = f"The host of {node.label} cannot be reached."
        raise PacsError(message, hint="Check the host name and the network.") from error
