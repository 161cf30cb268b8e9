"""Sending by C-STORE (layer: pacs)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ctrestorelib.core.errors import InputError, PacsError
from ctrestorelib.io.dicom.container import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from ctrestorelib.io.dicom.quiet import read_errors
from ctrestorelib.pacs.association import MAX_CONTEXTS, Context, associated
from ctrestorelib.pacs.instances import Instance
from ctrestorelib.pacs.peers import DicomNode
from ctrestorelib.pacs.results import InstanceResult, Outcome
from ctrestorelib.pacs.statuses import stored_result


def store(node: DicomNode, instances: Sequence[Instance]) -> Iterator[InstanceResult]:
    """Send instances one after the other over one association; yield each result as it comes.

    Data sets go out as they are in the file. Only an uncompressed one is rewritten, and only for
    an archive that accepts no other form than implicit VR.

    Raises
    ------
    PacsError
        If no association comes about, or it breaks; the instances not yielded are not stored, or
        the archive did not say so.
    """
    with associated(node, contexts_of(instances)) as link:
        for count, instance in enumerate(instances):
            status = _send(link, instance, count % 0xFFFF + 1)
            if isinstance(status, str):
                yield InstanceResult(instance, Outcome.REFUSED, status)
            elif "Status" in status:
                yield stored_result(instance, int(status.Status))
            else:
                raise _silence_after(count, len(instances), node)


def contexts_of(instances: Sequence[Instance]) -> list[Context]:
    """Return what to offer: each class in each form that the files have, one form a context.

    Raises
    ------
    InputError
        If the files are of more kinds than one association can carry.
    """
    pairs = dict.fromkeys((i.sop_class, i.syntax) for i in instances)
    plain = dict.fromkeys((c, IMPLICIT_LITTLE) for c, s in pairs if s == EXPLICIT_LITTLE)
    offered = pairs | plain
    if len(offered) > MAX_CONTEXTS:
        message = f"The folder holds {len(offered)} kinds of object; one transfer carries 128."
        raise InputError(message, hint="Send the series one by one.")
    return [(sop_class, (syntax,)) for sop_class, syntax in offered]


def _send(link: Any, instance: Instance, message_id: int) -> Any:
    """Return the answer, or words if the instance could not be sent."""
    import pydicom

    if not _accepted(link, instance):
        return "The archive does not accept this kind of object in this transfer syntax."
    try:
        return link.send_c_store(pydicom.dcmread(instance.path), msg_id=message_id)
    except read_errors():
        if not link.is_established:
            return pydicom.Dataset()  # the connection broke while the message went out
        return "The file is damaged and was not sent."


def _accepted(link: Any, instance: Instance) -> bool:
    forms = {instance.syntax}
    if instance.syntax == EXPLICIT_LITTLE:
        forms.add(IMPLICIT_LITTLE)
    return any(
        context.abstract_syntax == instance.sop_class and context.transfer_syntax[0] in forms
        for context in link.accepted_contexts
    )


def _silence_after(count: int, total: int, node: DicomNode) -> PacsError:
    message = f"{node.label} stopped answering after {count} of {total} instances."
    hint = "Check that the archive is running, and has space."
    return PacsError(message, hint=hint, transient=True)
