"""Reading inputs and writing results for the commands (layer: apps)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ctrestorelib.apps.cli.console import echo_json, progress, say
from ctrestorelib.apps.cli.options import check_output, numbers
from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.notes import Note
from ctrestorelib.io.volumes import VolumeRead, read_volume, write_volume
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import JobResult, run_job


def open_volume(
    path: Path,
    *,
    series: str | None = None,
    resample_tilt: bool = False,
    voxel_size: str | None = None,
    input_unit: str | None = None,
    quiet: bool = True,
) -> VolumeRead:
    """Read a volume and tell the person what was assumed."""
    read = read_volume(
        path,
        unit=None if input_unit is None else Unit(input_unit),
        spacing_mm=None if voxel_size is None else numbers(voxel_size, 3, "--voxel-size"),
        series=series,
        resample_tilt=resample_tilt,
    )
    if not quiet:
        tell(read.notes)
    return read


def open_mask(path: Path | None, geometry: VolumeGeometry) -> NDArray[np.bool_] | None:
    """Read a mask on the very grid of a volume; anything above one half belongs to it.

    Raises
    ------
    GeometryError
        If the mask has another grid.
    """
    if path is None:
        return None
    mask = read_volume(path).volume
    if not mask.geometry.matches(geometry):
        message = (
            f"The mask's grid {mask.shape} is not the volume's grid {geometry.shape}, "
            "or lies elsewhere."
        )
        raise GeometryError(message, hint="Export the mask with the volume as reference geometry.")
    inside: NDArray[np.bool_] = mask.values > 0.5
    return inside


def open_prior(path: Path | None, grid: VolumeGeometry, mu_water_per_mm: float) -> Volume | None:
    """Read a prior volume in 1/mm on the output grid (HU is converted)."""
    if path is None:
        return None
    prior = read_volume(path).volume
    if not prior.geometry.matches(grid):
        message = "The prior volume must lie on the output grid."
        raise GeometryError(
            message, hint="Give the prior itself with --like, or resample it first."
        )
    return prior.to_unit(Unit.PER_MM, mu_water_per_mm)


def tell(notes: tuple[Note, ...]) -> None:
    """Show reading notes to the person."""
    for note in notes:
        say(f"Note: {note.text}")


def as_records(notes: tuple[Note, ...]) -> tuple[dict[str, str], ...]:
    """Return notes as plain values for the provenance."""
    return tuple({"code": n.code, "text": n.text} for n in notes)


def parts_of(output: Path) -> tuple[str, str]:
    """Return a file name's stem and its suffix, where ``.nii.gz`` is one."""
    suffix = ".nii.gz" if output.name.endswith(".nii.gz") else output.suffix
    return output.name.removesuffix(suffix), suffix


def sidecar_of(output: Path) -> Path:
    """Return the provenance file beside a result: ``knee.nii.gz`` -> ``knee.json``."""
    return output.with_name(f"{parts_of(output)[0]}.json")


def uncertainty_of(output: Path) -> Path:
    """Return the expected errors' file: ``knee.nii.gz`` -> ``knee-uncertainty.nii.gz``."""
    stem, suffix = parts_of(output)
    return output.with_name(f"{stem}-uncertainty{suffix}")


def check_outputs(
    output: Path, inputs: Iterable[Path | None], params: Mapping[str, Any], *, overwrite: bool
) -> None:
    """Refuse to touch an input, or an existing file without ``--overwrite``.

    Where the parameters ask for an uncertainty, that holds for its file too.

    Raises
    ------
    UsageError
        In both cases, before anything runs.
    """
    known = list(inputs)
    check_output(output, known, overwrite=overwrite)
    if params.get("uncertainty"):
        check_output(uncertainty_of(output), known, overwrite=overwrite)


def run_and_save(
    request: JobRequest, output: Path, *, dtype: str, quiet: bool, as_json: bool
) -> JobResult:
    """Run a request with progress, write result and provenance, say so, and return the result."""
    require_writable(output, _result_grid(request), dtype)
    if not quiet:
        say(request.plan().sentence())
    with progress(request.restorer.spec.title, quiet=quiet) as show:
        result = run_job(request, show)
    saved = save_result(result.volume, result.provenance, output, dtype)
    if result.uncertainty is not None:
        saved["uncertainty"] = str(uncertainty_of(output))
        write_volume(result.uncertainty, uncertainty_of(output))
    if as_json:
        echo_json(saved)
        return result
    click.echo(f"Wrote {output} and {saved['sidecar']} in {result.provenance.seconds:.1f} s.")
    if "uncertainty" in saved:
        click.echo(f"Expected error of every voxel (standard deviation): {saved['uncertainty']}.")
    elif getattr(request.resolved_params(), "uncertainty", False):
        say("The method could not tell its uncertainty here; no map was written.")
    return result


def require_writable(output: Path, grid: VolumeGeometry, dtype: str) -> None:
    """Refuse, before anything runs, a format that cannot hold this grid or type.

    A few voxels on the same axes are written to a temporary folder, so the writers' own rules hold.
    """
    few = VolumeGeometry((2, 2, 2), grid.ijk_to_lps)
    with tempfile.TemporaryDirectory() as folder:
        probe = Volume(np.zeros(few.shape, np.float32), few, Unit.GREY)
        write_volume(probe, Path(folder) / output.name, dtype=dtype)


def _result_grid(request: JobRequest) -> VolumeGeometry:
    source = request.inputs.grid if request.is_reconstruction else None
    return source or request.inputs.require_volume().geometry


def save_result(volume: Volume, provenance: Provenance, output: Path, dtype: str) -> dict[str, Any]:
    """Write a result and its provenance; return what was written."""
    written = write_volume(volume, output, dtype=dtype)
    provenance.write(sidecar_of(output))
    return {
        "output": str(output),
        "sidecar": str(sidecar_of(output)),
        "clipped_voxels": written.clipped,
        "notes": [n.text for n in written.notes],
        "provenance": provenance.to_json(),
    }
