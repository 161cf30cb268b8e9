"""Which data went in and came out, and with which packages: what the worker stamps (layer: jobs).

The worker computes the hashes, so that a host with a user interface does not stand still for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from numpy.typing import NDArray

from ctrestorelib.core.provenance import InputIdentity, array_sha256, environment
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.restorer.protocol import Inputs

NamedArrays = Iterable[tuple[str, NDArray[Any]]]


def identities(request: JobRequest) -> tuple[InputIdentity, ...]:
    """Return the identity of every input array of a request."""
    return identities_from(_stamps(arrays_of(request.inputs)), request.sop_instance_uids)


def arrays_of(inputs: Inputs) -> list[tuple[str, NDArray[Any]]]:
    """Return every input array with its role."""
    arrays: list[tuple[str, NDArray[Any]]] = []
    if inputs.volume is not None:
        arrays.append(("volume", inputs.volume.values))
    for n, split in enumerate(inputs.split_volumes or ()):
        arrays.append((f"split_{n}", split.values))
    if inputs.projections is not None:
        arrays.append(("projections", inputs.projections.values))
    if inputs.prior is not None:
        arrays.append(("prior", inputs.prior.values))
    if inputs.mask is not None:
        arrays.append(("mask", inputs.mask))
    return arrays


def origin(inputs: NamedArrays, output: NDArray[Any]) -> dict[str, Any]:
    """Return hashes of what was read and made, and the versions at work, as plain values."""
    return {
        "inputs": _stamps(inputs),
        "output_sha256": array_sha256(output),
        "environment": environment(),
    }


def identities_from(
    stamps: Sequence[Mapping[str, Any]], sop_instance_uids: tuple[str, ...]
) -> tuple[InputIdentity, ...]:
    """Return identities from the worker's stamps; the DICOM identity belongs to the volume."""
    return tuple(
        InputIdentity(
            stamp["role"],
            stamp["sha256"],
            tuple(stamp["shape"]),
            sop_instance_uids if stamp["role"] == "volume" else (),
        )
        for stamp in stamps
    )


def _stamps(arrays: NamedArrays) -> list[dict[str, Any]]:
    found = (
        InputIdentity(role, array_sha256(array), tuple(int(n) for n in array.shape))
        for role, array in arrays
    )
    return [asdict(identity) for identity in found]
