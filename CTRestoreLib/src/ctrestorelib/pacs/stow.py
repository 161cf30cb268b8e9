"""Sending by STOW-RS (DICOM PS3.18, 10.5), in batches (layer: pacs)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import InputError
from ctrestorelib.pacs.instances import Instance
from ctrestorelib.pacs.peers import DicomWebServer
from ctrestorelib.pacs.results import InstanceResult, Outcome
from ctrestorelib.pacs.statuses import stored_result
from ctrestorelib.pacs.web import JSON, Answer, Body, request

BATCH_BYTES, BATCH_COUNT = 32 << 20, 64
_FAILED, _REASON, _STORED, _WARNING = "00081198", "00081197", "00081199", "00081196"
_UID = "00081155"
_PIECE = 1 << 18
_ABOUT_CONTENT = {400, 409, 413, 415, 422, 500}
"""Refusals that one instance can cause for its whole batch."""


def stow(
    server: DicomWebServer, instances: Sequence[Instance], count: int = BATCH_COUNT
) -> Iterator[InstanceResult]:
    """Send instances in batches, byte for byte as they are in the files; yield their results.

    Where a server refuses a batch without saying which instance it means, those that it did not
    name are sent again one by one, so that a bad one does not hold up the good ones.

    Raises
    ------
    PacsError
        If the server cannot be reached or refuses us; the instances not yielded are not stored,
        or the server did not say so.
    """
    for batch in batches(instances, count):
        named, status = _post(server, batch)
        yield from named.values()
        rest = [i for i in batch if i.uid not in named]
        if len(batch) == 1 and rest:
            yield _unnamed(batch[0], status)
            continue
        for instance in rest:
            alone, status = _post(server, [instance])
            yield alone.get(instance.uid) or _unnamed(instance, status)


def batches(instances: Sequence[Instance], count: int = BATCH_COUNT) -> Iterator[list[Instance]]:
    """Yield runs of instances that are bounded in number and bytes (at least one each)."""
    batch: list[Instance] = []
    size = 0
    for instance in instances:
        more = _size(instance)
        if batch and (size + more > BATCH_BYTES or len(batch) == count):
            yield batch
            batch, size = [], 0
        batch.append(instance)
        size += more
    if batch:
        yield batch


def _post(
    server: DicomWebServer, batch: Sequence[Instance]
) -> tuple[dict[str, InstanceResult], int]:
    """Return the results that the server named, by UID, and its HTTP status."""
    with request(server, "POST", "/studies", accept=JSON, body=_body(batch)) as answer:
        if not (200 <= answer.status < 300 or answer.status in _ABOUT_CONTENT):
            answer.refuse()
        named = _named(answer, batch)
        if answer.status == 200 and not named:
            # By the standard, 200 means that all are stored; some servers say no more than that.
            return {i.uid: stored_result(i, 0) for i in batch}, answer.status
        return named, answer.status


def _body(batch: Sequence[Instance]) -> Body:
    boundary = secrets.token_hex(16)
    lead = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
    end = f"--{boundary}--\r\n".encode("ascii")
    sizes = [_size(instance) for instance in batch]
    length = sum(len(lead) + size + 2 for size in sizes) + len(end)

    def pieces() -> Iterator[bytes]:
        for instance, size in zip(batch, sizes, strict=True):
            yield lead
            yield from _file_pieces(instance.path, size)
            yield b"\r\n"
        yield end

    media_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return Body(media_type, length, pieces())


def _file_pieces(path: Path, size: int) -> Iterator[bytes]:
    left = size
    try:
        with path.open("rb") as stream:
            while left and (piece := stream.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece
    except OSError:
        raise _changed() from None
    if left:
        raise _changed()


def _size(instance: Instance) -> int:
    try:
        return instance.path.stat().st_size
    except OSError:
        raise _changed() from None


def _changed() -> InputError:
    message = "A file of the folder vanished or became shorter while the folder was sent."
    return InputError(message, hint="Leave the folder alone while it is sent, and send it again.")


def _named(answer: Answer, batch: Sequence[Instance]) -> dict[str, InstanceResult]:
    by_uid = {instance.uid: instance for instance in batch}
    record = answer.json()
    record = record[0] if isinstance(record, list) and record else record
    found: dict[str, InstanceResult] = {}
    for item in _items(record, _STORED):
        if (uid := str(_first(item, _UID))) in by_uid:
            found[uid] = stored_result(by_uid[uid], _code(item, _WARNING, 0))
    for item in _items(record, _FAILED):
        if (uid := str(_first(item, _UID))) in by_uid:
            found[uid] = stored_result(by_uid[uid], _code(item, _REASON, 0x0110))
    return found


def _items(record: Any, tag: str) -> list[Any]:
    values = record.get(tag, {}) if isinstance(record, dict) else {}
    items = values.get("Value") if isinstance(values, dict) else None
    return items if isinstance(items, list) else []


def _first(item: Any, tag: str) -> Any:
    values = _items(item, tag)
    return values[0] if values else None


def _code(item: Any, tag: str, default: int) -> int:
    value = _first(item, tag)
    return value if isinstance(value, int) and 0 <= value <= 0xFFFF else default


def _unnamed(instance: Instance, status: int) -> InstanceResult:
    """Return the result of an instance sent alone about which the server said nothing."""
    if status < 400:
        words = f"The archive did not say whether it stored the instance (HTTP {status})."
        return InstanceResult(instance, Outcome.UNSENT, words, status, transient=True)
    words = {
        413: "The archive holds the instance to be too large (HTTP 413).",
        415: "The archive does not accept this kind of object (HTTP 415).",
    }.get(status, f"The archive cannot take the instance (HTTP {status}).")
    return InstanceResult(instance, Outcome.REFUSED, words, status, transient=status == 500)
