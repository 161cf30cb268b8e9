"""Receiving a series: by C-GET or by WADO-RS, byte for byte into files (layer: pacs)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import CTRestoreError, PacsError, ResourceError
from ctrestorelib.pacs.association import Context, associated, require_pynetdicom
from ctrestorelib.pacs.multipart import boundary_of, parts
from ctrestorelib.pacs.peers import DicomNode, DicomWebServer
from ctrestorelib.pacs.web import request

MAX_BYTES, MAX_FILES = 64 << 30, 50_000

_STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_IMAGES = "1.2.840.10008.5.1.4.1.1."
_CLASSES = tuple(
    _IMAGES + tail
    for tail in ("2", "2.1", "2.2", "7", "7.2", "7.3", "12.1", "12.1.1", "13.1.1", "66.4")
)
"""CT (classic, enhanced, converted), secondary capture, XA (classic, enhanced, 3D), SEG."""
_SYNTAXES = tuple(
    "1.2.840.10008.1.2" + tail
    for tail in (".1", "", ".2", ".5", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81",
                 ".4.90", ".4.91")
)  # fmt: skip
"""Plain, RLE, JPEG, JPEG Lossless, JPEG-LS, JPEG 2000: what our reader can decode."""


class Basket:
    """An empty folder that fills with received files, within bounds.

    Parameters
    ----------
    folder
        Where ``part00001.dcm`` and so on are written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self._bytes = 0

    def add(self, pieces: Iterator[bytes]) -> None:
        """Write one file.

        Raises
        ------
        PacsError
            If the archive sends more than a series can hold.
        ResourceError
            If the disk is full.
        """
        path = self.folder / f"part{len(self.files) + 1:05d}.dcm"
        try:
            with path.open("xb") as stream:
                for piece in pieces:
                    self._count(len(piece))
                    stream.write(piece)
        except OSError as error:
            message = f"The received images cannot be written: {error.strerror or error}."
            hint = "Check free space and write permission of the output folder."
            raise ResourceError(message, hint=hint) from error
        self.files.append(path)

    def _count(self, more: int) -> None:
        self._bytes += more
        if self._bytes > MAX_BYTES or len(self.files) >= MAX_FILES:
            message = "The archive sends more than one series can hold; the transfer was stopped."
            raise PacsError(message, hint="Check the series UID, and the archive.")


def wado(server: DicomWebServer, study: str, series: str, basket: Basket) -> None:
    """Receive a series by WADO-RS (PS3.18, 10.4) in the form in which the server has it.

    Raises
    ------
    PacsError
        If the server refuses, has no such series, or breaks off.
    """
    path = f"/studies/{study}/series/{series}"
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    with request(server, "GET", path, accept=accept) as answer:
        if answer.status == 404:
            raise no_such_series(server.label)
        boundary = boundary_of(answer.media_type)
        if answer.status not in (200, 206):
            answer.refuse()
        if boundary is None:
            message = f"{server.label} did not send DICOM files."
            raise PacsError(message, hint="Check the address, such as https://host/dicom-web.")
        for part in parts(answer.read, boundary):
            basket.add(part)


def get(node: DicomNode, study: str, series: str, basket: Basket) -> None:
    """Receive a series by C-GET (PS3.4, C.4.3), each instance in a form the archive chooses.

    Raises
    ------
    PacsError
        If the archive refuses, has no such series, sends only a part, or breaks off.
    """
    require_pynetdicom()
    import pydicom
    from pynetdicom import evt
    from pynetdicom.presentation import build_role

    receiver = _Receiver(basket)
    roles = [build_role(sop_class, scp_role=True) for sop_class in _CLASSES]
    handlers = [(evt.EVT_C_STORE, receiver.receive)]
    wanted = pydicom.Dataset()
    wanted.QueryRetrieveLevel = "SERIES"
    wanted.StudyInstanceUID, wanted.SeriesInstanceUID = study, series
    with associated(node, _get_contexts(), roles=roles, handlers=handlers) as link:
        last = None
        for status, _identifier in link.send_c_get(wanted, _STUDY_ROOT_GET):
            last = status
        if receiver.trouble is not None:
            raise receiver.trouble
    _judge_get(node, last, basket)


def no_such_series(label: str) -> PacsError:
    """Return the error for a series that an archive does not have."""
    message = f"{label} has no such series."
    return PacsError(message, hint="Check --study and --series, and whether we may see it.")


def _get_contexts() -> list[Context]:
    plain = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
    # One form a context for CT, so that the archive need not unpack what it holds compressed.
    single: list[Context] = [(c, (s,)) for c in _CLASSES[:3] for s in _SYNTAXES]
    return [(_STUDY_ROOT_GET, plain), *single, *((c, _SYNTAXES) for c in _CLASSES[3:])]


class _Receiver:
    def __init__(self, basket: Basket) -> None:
        self.basket = basket
        self.trouble: CTRestoreError | None = None

    def receive(self, event: Any) -> int:
        """Handle a C-STORE of pynetdicom; return its status."""
        if self.trouble is None:
            try:
                self.basket.add(iter([event.encoded_dataset()]))
            except CTRestoreError as error:
                self.trouble = error
            except Exception:  # noqa: BLE001 - whatever a peer sends must not end this thread
                message = "The archive sent something that is no DICOM object."
                self.trouble = PacsError(message, hint="See the archive's log.")
        return 0x0000 if self.trouble is None else 0xA700


def _judge_get(node: DicomNode, status: Any, basket: Basket) -> None:
    if status is None or "Status" not in status:
        message = f"{node.label} stopped sending after {len(basket.files)} instances."
        raise PacsError(message, hint="Try again.", transient=True)
    failed = int(status.get("NumberOfFailedSuboperations") or 0)
    code = int(status.Status)
    if code == 0 and not failed:
        if not basket.files:
            raise no_such_series(node.label)
        return
    if basket.files or failed:
        message = f"{node.label} could not send {failed or 'some'} of the instances (0x{code:04X})."
        hint = "It may hold them in a form that we did not offer; try --dicomweb."
        raise PacsError(message, hint=hint)
    message = f"{node.label} refused to send the series (0x{code:04X})."
    raise PacsError(message, hint="Ask its administrator to allow C-GET to our AE title.")
