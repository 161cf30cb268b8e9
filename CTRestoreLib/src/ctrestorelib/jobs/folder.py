"""The job folder: arrays as memory-mapped files, events as JSON lines (layer: jobs).

Layout::

    request.json   the task, the host's process id and what to do; arrays by file name
    *.npy          inputs, written by the host, read-only in the worker
    events.jsonl   progress, warnings and the end, appended by the worker
    cancel         exists when the person wants to stop
    result.json    written last; the arrays of the result beside it
    worker.log     what libraries print; never holds patient data of ours
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import ResourceError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.system import process_exists
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

PREFIX = "ctrestore-job-"


def create_folder() -> Path:
    """Make a private folder for one job, and remove those that a killed host left behind.

    ``CTRESTORE_JOBS`` names the parent folder; the system's temporary folder is the default.
    """
    parent = Path(os.environ.get("CTRESTORE_JOBS") or tempfile.gettempdir())
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    except OSError as error:
        message = f"Cannot make a folder for the job: {error.strerror or error}."
        hint = "Set CTRESTORE_JOBS to a folder on a disk with free space."
        raise ResourceError(message, hint=hint) from error


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        if pid.isdigit() and not process_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def write_request(folder: Path, request: JobRequest, budget: Budget) -> None:
    """Write the inputs and ``request.json`` of a restoration.

    Raises
    ------
    ResourceError
        If the disk is full.
    """
    with full_disk_is_an_error():
        record = {
            "method": request.method_id,
            "params": dict(request.params),
            "strength": request.strength,
            "region_kji": request.region_kji,
            "output_unit": request.output_unit.value,
            "mu_water_per_mm": request.mu_water_per_mm,
            "seed": request.seed,
            "facts": dict(request.facts),
            "budget": vars(budget),
            "inputs": _write_inputs(folder, request.inputs),
        }
        write_task(folder, "restore", record)


def write_task(folder: Path, task: str, record: dict[str, Any]) -> None:
    """Write ``request.json``: the record, which task it is of, and who waits for it."""
    record = {"task": task, "host_pid": os.getpid(), **record}
    (folder / "request.json").write_text(json.dumps(record), encoding="utf-8")


def read_request(path: Path) -> tuple[JobRequest, Budget]:
    """Read what :func:`write_request` wrote; arrays are memory-mapped and cannot be written to."""
    record = json.loads(path.read_text(encoding="utf-8"))
    region = record["region_kji"]
    request = JobRequest(
        method_id=record["method"],
        inputs=_read_inputs(path.parent, record["inputs"]),
        params=record["params"],
        strength=record["strength"],
        region_kji=None if region is None else tuple((int(a), int(b)) for a, b in region),  # type: ignore[arg-type]
        output_unit=Unit(record["output_unit"]),
        mu_water_per_mm=record["mu_water_per_mm"],
        seed=record["seed"],
        facts=record["facts"],
    )
    return request, Budget(**record["budget"])


def write_result(
    folder: Path,
    volume: Volume,
    uncertainty: Volume | None,
    report: dict[str, Any],
    origin: dict[str, Any],
) -> None:
    """Write the estimate and where it comes from (hashes, versions)."""
    with full_disk_is_an_error():
        record: dict[str, Any] = {"volume": save_volume(folder, "result", volume), "report": report}
        if uncertainty is not None:
            record["uncertainty"] = save_volume(folder, "uncertainty", uncertainty)
        write_end(folder, record | origin)


def write_end(folder: Path, record: dict[str, Any]) -> None:
    """Write ``result.json``; it appears last and whole, so its presence means all is there."""
    with atomic_path(folder / "result.json") as temporary:
        temporary.write_text(json.dumps(record), encoding="utf-8")


def read_end(folder: Path) -> dict[str, Any]:
    """Read what :func:`write_end` wrote."""
    record: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return record


def read_result(
    folder: Path, *, mapped: bool = False
) -> tuple[Volume, Volume | None, dict[str, Any]]:
    """Read the estimate (into memory, so that the folder can go) and the whole record."""
    record = read_end(folder)
    volume = load_volume(folder, record["volume"], mapped=mapped)
    uncertainty = record.get("uncertainty")
    return (
        volume,
        None if uncertainty is None else load_volume(folder, uncertainty, mapped=mapped),
        record,
    )


def save_volume(folder: Path, name: str, volume: Volume) -> dict[str, Any]:
    """Save one volume as ``name.npy``; return its record."""
    np.save(folder / f"{name}.npy", volume.values, allow_pickle=False)
    return {"file": name, "geometry": volume.geometry.to_json(), "unit": volume.unit.value}


def load_volume(folder: Path, record: dict[str, Any], *, mapped: bool = True) -> Volume:
    """Load a volume saved by :func:`save_volume`."""
    values = load_array(folder, record["file"], mapped=mapped)
    return Volume(values, VolumeGeometry.from_json(record["geometry"]), Unit(record["unit"]))


def load_array(folder: Path, name: str, *, mapped: bool = True) -> NDArray[Any]:
    """Load ``name.npy``, memory-mapped and read-only unless told otherwise."""
    array: NDArray[Any] = np.load(
        folder / f"{name}.npy", mmap_mode="r" if mapped else None, allow_pickle=False
    )
    return array


def _write_inputs(folder: Path, inputs: Inputs) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, volume in (("volume", inputs.volume), ("prior", inputs.prior)):
        if volume is not None:
            record[name] = save_volume(folder, name, volume)
    if inputs.split_volumes is not None:
        record["split_volumes"] = [
            save_volume(folder, f"split_{n}", v) for n, v in enumerate(inputs.split_volumes)
        ]
    if inputs.projections is not None:
        record["projections"] = save_projections(folder, inputs.projections)
    if inputs.grid is not None:
        record["grid"] = inputs.grid.to_json()
    if inputs.mask is not None:
        np.save(folder / "mask.npy", inputs.mask, allow_pickle=False)
        record["mask"] = "mask"
    return record


def _read_inputs(folder: Path, record: dict[str, Any]) -> Inputs:
    splits = record.get("split_volumes")
    return Inputs(
        volume=load_volume(folder, record["volume"]) if "volume" in record else None,
        split_volumes=(load_volume(folder, splits[0]), load_volume(folder, splits[1]))
        if splits
        else None,
        projections=load_projections(folder, record["projections"])
        if "projections" in record
        else None,
        grid=VolumeGeometry.from_json(record["grid"]) if "grid" in record else None,
        prior=load_volume(folder, record["prior"]) if "prior" in record else None,
        mask=load_array(folder, record["mask"]) if "mask" in record else None,
    )


def save_projections(folder: Path, projections: ProjectionSet) -> dict[str, Any]:
    """Save a projection set as ``projections.npy``; return its record."""
    np.save(folder / "projections.npy", projections.values, allow_pickle=False)
    return {
        "file": "projections",
        "geometry": projections.geometry.to_json(),
        "kind": projections.kind.value,
        "i0": projections.i0,
        "electronic_sd": projections.electronic_sd,
    }


def load_projections(folder: Path, record: dict[str, Any], *, mapped: bool = True) -> ProjectionSet:
    """Load a projection set saved by :func:`save_projections`."""
    return ProjectionSet(
        values=load_array(folder, record["file"], mapped=mapped),
        geometry=ConeBeamGeometry.from_json(record["geometry"]),
        kind=ProjectionKind(record["kind"]),
        i0=record["i0"],
        electronic_sd=record["electronic_sd"],
    )


@contextmanager
def full_disk_is_an_error() -> Generator[None, None, None]:
    """Turn what the system says of a full disk into a sentence.

    Raises
    ------
    ResourceError
        If writing fails within the block.
    """
    try:
        yield
    except OSError as error:
        # NumPy says how many bytes it wrote; no person wants to know.
        message = f"The job's arrays cannot be written: {error.strerror or 'the disk is full'}."
        hint = "Free some disk space, or set CTRESTORE_JOBS to a folder on a larger disk."
        raise ResourceError(message, hint=hint) from error
