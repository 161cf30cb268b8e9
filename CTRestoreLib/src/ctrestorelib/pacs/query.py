"""Asking what an archive has of a series: C-FIND or QIDO-RS (layer: pacs)."""

from __future__ import annotations

from typing import Any

from ctrestorelib.core.errors import PacsError
from ctrestorelib.pacs.association import associated
from ctrestorelib.pacs.instances import is_uid, require_uid
from ctrestorelib.pacs.peers import DicomNode, DicomWebServer, Peer
from ctrestorelib.pacs.web import JSON, request

_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_PLAIN = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_PAGE, _MAX_INSTANCES = 1000, 200_000


def instances_at(peer: Peer, study: str, series: str) -> frozenset[str]:
    """Return the SOP instance UIDs that an archive has of a series.

    Raises
    ------
    PacsError
        If the archive cannot be asked.
    InputError
        If a UID is not one.
    """
    require_uid(study, "study UID")
    require_uid(series, "series UID")
    if isinstance(peer, DicomWebServer):
        found = _qido(peer, study, series)
    else:
        found = _find(peer, study, series)
    return frozenset(uid for uid in found if is_uid(uid))


def _find(node: DicomNode, study: str, series: str) -> set[str]:
    import pydicom

    found: set[str] = set()
    with associated(node, [(_STUDY_ROOT_FIND, _PLAIN)]) as link:
        wanted = pydicom.Dataset()
        wanted.QueryRetrieveLevel = "IMAGE"
        wanted.StudyInstanceUID, wanted.SeriesInstanceUID = study, series
        wanted.SOPInstanceUID = ""
        for status, identifier in link.send_c_find(wanted, _STUDY_ROOT_FIND):
            if "Status" not in status:
                message = f"{node.label} stopped answering the query."
                raise PacsError(message, hint="Try again.", transient=True)
            if status.Status in (0xFF00, 0xFF01):
                found.add(str(identifier.get("SOPInstanceUID", "")) if identifier else "")
            elif status.Status != 0:
                raise _refused(node, int(status.Status))
            _require_bounded(found, node)
    return found


def _refused(node: DicomNode, status: int) -> PacsError:
    message = f"{node.label} refused the query (0x{status:04X})."
    return PacsError(message, hint="Ask its administrator to allow queries to our AE title.")


def _qido(server: DicomWebServer, study: str, series: str) -> set[str]:
    found: set[str] = set()
    while True:
        page = _qido_page(server, f"/studies/{study}/series/{series}/instances", len(found))
        if page <= found:
            # Servers cap their pages as they like, so only a page without news is the last.
            return found
        found |= page
        _require_bounded(found, server)


def _qido_page(server: DicomWebServer, path: str, offset: int) -> set[str]:
    query = f"{path}?limit={_PAGE}&offset={offset}"
    with request(server, "GET", query, accept=JSON) as answer:
        if answer.status == 204:
            return set()
        if answer.status != 200:
            answer.refuse()
        records = answer.json()
    if not isinstance(records, list):
        message = f"{server.label} answered the query with something else than DICOM JSON."
        raise PacsError(message, hint="Check the address, such as https://host/dicom-web.")
    return {_uid_of(record) for record in records}


def _uid_of(record: Any) -> str:
    values = record.get("00080018", {}).get("Value") if isinstance(record, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def _require_bounded(found: set[str], peer: Peer) -> None:
    if len(found) > _MAX_INSTANCES:
        message = f"{peer.label} lists more than {_MAX_INSTANCES} instances for one series."
        raise PacsError(message, hint="Check the series UID.")
