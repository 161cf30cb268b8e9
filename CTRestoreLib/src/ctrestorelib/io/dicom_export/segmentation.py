"""Write segments as a DICOM Segmentation on an exported series (layer: io; needs highdicom)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib import __version__
from ctrestorelib.core.errors import GeometryError, InputError, UsageError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom.quiet import quiet, read_errors
from ctrestorelib.io.dicom_export.copying import ascii_text, ds_text
from ctrestorelib.io.dicom_export.matching import match_slices
from ctrestorelib.io.dicom_export.options import DEFAULT_STAMP, Dataset, Stamp
from ctrestorelib.io.dicom_export.origin import MANUFACTURER, MODEL
from ctrestorelib.io.dicom_export.source import SourceSeries
from ctrestorelib.io.dicom_export.wording import cut

Mask = NDArray[np.bool_]
_SERIES_OFFSET = 1


@dataclass(frozen=True)
class SegmentationReport:
    """What was written.

    Parameters
    ----------
    file
        The one file of the segmentation.
    segments
        Names as written, in the order of their numbers from 1.
    """

    file: Path
    segments: tuple[str, ...]
    series_uid: str


def export_segmentation(
    masks: Sequence[tuple[str, Mask]],
    geometry: VolumeGeometry,
    exported_files: Sequence[Path],
    folder: Path,
    *,
    algorithm: str = "",
    description: str = "Segmentation [research]",
    stamp: Stamp = DEFAULT_STAMP,
) -> SegmentationReport:
    """Write masks as one DICOM SEG (binary, may overlap) that refers to an exported series.

    Parameters
    ----------
    masks
        Name and array ``[k, j, i]`` of each segment, on the grid of the exported volume.
    geometry
        That grid.
    exported_files
        The images, as :class:`ExportReport` lists them.
    folder
        Where ``SEG00001.dcm`` goes; it may be the folder of the images.
    algorithm
        What drew the segments, such as ``Threshold 200 to 3000 HU``; "" says a person did.

    Raises
    ------
    InputError
        If a segment is empty or has no name, or highdicom is not installed.
    GeometryError
        If a mask or the files do not lie on the grid.
    UsageError
        If the file exists already.
    """
    path = folder / "SEG00001.dcm"
    if path.exists():
        message = f"{path.name} exists already in the folder {folder.name}."
        raise UsageError(message, hint="Name another folder; nothing is ever overwritten.")
    _check_masks(masks, geometry)
    with quiet():
        images = _images_by_slice(geometry, exported_files)
        segmentation = _build(masks, images, algorithm, description, stamp)
        with atomic_path(path) as temporary:
            segmentation.save_as(temporary)
    names = tuple(str(s.SegmentLabel) for s in segmentation.SegmentSequence)
    return SegmentationReport(path, names, str(segmentation.SeriesInstanceUID))


def _check_masks(masks: Sequence[tuple[str, Mask]], geometry: VolumeGeometry) -> None:
    if not masks:
        message = "There is no segment to export."
        raise InputError(message, hint="Draw or choose at least one segment.")
    for name, mask in masks:
        if not name.strip():
            message = "A segment has no name."
            raise InputError(message, hint="Give every segment a name.")
        if mask.shape != geometry.shape:
            message = f"A segment has shape {mask.shape}, the exported volume {geometry.shape}."
            raise GeometryError(message, hint="Export the segments on the grid of the volume.")
        if not mask.any():
            message = "A segment is empty: it has no voxel in the exported volume."
            raise InputError(message, hint="Leave it out, or draw it first.")


def _images_by_slice(geometry: VolumeGeometry, files: Sequence[Path]) -> list[Dataset]:
    """Return the headers of the exported images in the order of the slices k."""
    series = SourceSeries.from_files(list(files))
    matches = match_slices(geometry, series.slices)
    if matches is None:
        message = "The exported images do not lie on the grid of the segments."
        raise GeometryError(message, hint="Name the files of the very volume that was segmented.")
    images = [m.header for m in matches]
    for image in images:
        if not elements.number(image, "SliceThickness"):
            # Segments are made of voxels, whose thickness is the distance of the slices.
            image.SliceThickness = ds_text(geometry.spacing_mm[2])
    return images


def _build(
    masks: Sequence[tuple[str, Mask]],
    images: list[Dataset],
    algorithm: str,
    description: str,
    stamp: Stamp,
) -> Any:
    hd = highdicom_package("a segmentation")
    names = [cut(" ".join(name.replace("\\", "/").split()), 64) for name, _ in masks]
    pixels = np.stack([mask for _, mask in masks], axis=-1).astype(np.uint8)
    try:
        return hd.seg.Segmentation(
            source_images=images,
            pixel_array=pixels,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _segment(hd, n + 1, name, algorithm) for n, name in enumerate(names)
            ],
            series_instance_uid=stamp.new_uid(),
            series_number=int(images[0].get("SeriesNumber") or 0) + _SERIES_OFFSET,
            series_description=ascii_text(description, 64),
            sop_instance_uid=stamp.new_uid(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL,
            software_versions=f"CTRestore {__version__}",
            device_serial_number=f"version {__version__}",
            content_label="SEGMENTATION",
        )
    except read_errors():
        # The cause is not chained: its text may quote a patient's data.
        message = "The segmentation cannot be written with the headers of the exported series."
        raise InputError(message, hint="Export the series again and use its files.") from None


def _segment(hd: Any, number: int, name: str, algorithm: str) -> Any:
    from pydicom.sr.codedict import codes

    tissue = codes.SCT.Tissue
    given: dict[str, Any] = {}
    if algorithm:
        family = codes.cid7162.NeighborhoodAnalysis
        given["algorithm_identification"] = hd.AlgorithmIdentificationSequence(
            name=ascii_text(algorithm, 64), family=family, version=__version__
        )
    kinds = hd.seg.SegmentAlgorithmTypeValues
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=tissue,
        segmented_property_type=tissue,
        algorithm_type=kinds.SEMIAUTOMATIC if algorithm else kinds.MANUAL,
        **given,
    )


def highdicom_package(what: str) -> Any:
    """Return the package that writes ``what``.

    Raises
    ------
    InputError
        If it is not installed, saying how to install it.
    """
    try:
        import highdicom
    except ImportError as error:
        message = f"Writing {what} as DICOM needs the Python package highdicom."
        hint = 'Install it: pip install highdicom (or "ctrestorelib[pacs]").'
        raise InputError(message, hint=hint) from error
    return highdicom
