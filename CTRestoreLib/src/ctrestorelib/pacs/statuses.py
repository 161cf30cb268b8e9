"""DICOM status codes of storage in words (layer: pacs).

Codes: DICOM PS3.4 Annex B.2.3 (C-STORE) and J.3 (storage commitment), PS3.7 Annex C, and PS3.18
Annex I (STOW-RS), which uses the same numbers.
"""

from __future__ import annotations

from ctrestorelib.pacs.instances import Instance
from ctrestorelib.pacs.results import InstanceResult, Outcome

_WARNINGS = {
    0xB000: "The archive changed some elements to fit its rules.",
    0xB006: "The archive left some elements out.",
    0xB007: "The archive found that the elements do not fit the kind of object.",
}
_FAILURES = {
    0x0105: "The archive does not know one of the attributes.",
    0x0106: "The archive found a value that is not valid.",
    0x0107: "The archive could not store some attributes.",
    0x0110: "The archive failed while it processed the instance.",
    0x0112: "The archive does not have this instance.",
    0x0117: "The archive holds the instance UID to be invalid.",
    0x0118: "The archive does not know this kind of object.",
    0x0119: "The archive has this UID with another kind of object.",
    0x0122: "The archive does not accept this kind of object.",
    0x0124: "The archive does not permit us to store.",
    0x0131: "The archive has seen this transaction before.",
    0x0210: "The archive saw the same message twice.",
    0x0211: "The archive does not know how to store.",
    0x0212: "The archive could not read the message.",
    0x0213: "The archive is short of memory or disk space.",
    0xC122: "The archive does not accept this transfer syntax.",
    0xC123: "The archive misses an identifier that it needs.",
}
_CLASSES = {
    0xA700: "The archive is short of memory or disk space.",
    0xA900: "The archive found that the instance does not match its kind of object.",
    0xC000: "The archive cannot understand the instance.",
}
_TRANSIENT = {0x0110, 0x0210, 0x0213}
_DUPLICATE = 0x0111


def words_of(status: int) -> str:
    """Return a status code as a sentence with the code."""
    known = _WARNINGS | _FAILURES
    text = known.get(status) or _CLASSES.get(status & 0xFF00) or _CLASSES.get(status & 0xF000)
    return f"{text or 'The archive gave a status that DICOM does not define.'} (0x{status:04X})"


def is_transient(status: int) -> bool:
    """Whether the same instance may be accepted later."""
    return status in _TRANSIENT or status & 0xFF00 == 0xA700


def stored_result(instance: Instance, status: int) -> InstanceResult:
    """Return the result that a C-STORE or STOW-RS status means."""
    if status == 0:
        return InstanceResult(instance, Outcome.STORED, status=status)
    if status == _DUPLICATE:
        words = "The archive has an instance with this UID already and kept its own. (0x0111)"
        return InstanceResult(instance, Outcome.WARNING, words, status)
    if status & 0xF000 == 0xB000 or status in (0x0001, 0x0107, 0x0116):
        return InstanceResult(instance, Outcome.WARNING, words_of(status), status)
    again = is_transient(status)
    return InstanceResult(instance, Outcome.REFUSED, words_of(status), status, again)
