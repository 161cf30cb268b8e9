"""Everything the panels remember, declared once (layer: mrml).

The desktop panel, the browser page and the parameter node are drawn from these declarations. The
parameters of a method are kept as ``<method>__<parameter>`` (hyphens become underscores).
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from functools import cache
from typing import Annotated

from ctrestorelib.core.params import Param, fields_of
from ctrestorelib.core.units import MU_WATER_PER_MM
from ctrestorelib.methods.registry import all_methods
from ctrestorelib.mrml.comparison.layouts import Mode
from ctrestorelib.mrml.parameters import NodeField, Setting
from ctrestorelib.physics.scan_protocol import ScanProtocol

ROI = "vtkMRMLMarkupsROINode"
LINE = "vtkMRMLMarkupsLineNode"
SEGMENTATION = "vtkMRMLSegmentationNode"


@enum.unique
class InputUnit(str, enum.Enum):
    """What the voxel values of the input mean."""

    AUTOMATIC = "automatic"
    HU = "hu"
    PER_MM = "per_mm"
    GREY = "grey"


@enum.unique
class OutputUnit(str, enum.Enum):
    """The unit of a reconstruction."""

    HU = "hu"
    PER_MM = "per_mm"


@enum.unique
class Plane(str, enum.Enum):
    """The direction of the slices."""

    AXIAL = "Axial"
    CORONAL = "Coronal"
    SAGITTAL = "Sagittal"
    ALL = "All"


@enum.unique
class WipeDirection(str, enum.Enum):
    """Which way the wipe moves."""

    HORIZONTAL = "horizontal"
    VERTICAL = "vertical"


@enum.unique
class SegmentBy(str, enum.Enum):
    """How the segment is found in both volumes."""

    BONE = "bone"
    SOFT_TISSUE = "soft tissue"
    LUNG = "lung"
    BRIGHT = "bright"
    OWN_RANGE = "own range"
    EXISTING = "existing segment"


@enum.unique
class SurfaceFormat(str, enum.Enum):
    """File type of an exported surface."""

    STL = "stl"
    OBJ = "obj"


@enum.unique
class VolumeFormat(str, enum.Enum):
    """File type of an exported volume."""

    NRRD = ".nrrd"
    NIFTI = ".nii.gz"
    META = ".mha"
    TIFF = ".tif"


@dataclass(frozen=True, kw_only=True)
class PanelSettings:
    """The plain values of all panels; the first word of a name is its panel."""

    input_unit: Annotated[
        InputUnit,
        Param("Values are", "Unit of the voxel values. Automatic: as the volume says, else from "
              "its range (values down to -500 or less are HU)."),
    ] = InputUnit.AUTOMATIC  # fmt: skip
    input_harden: Annotated[
        bool,
        Param("Apply the transform to the result",
              "On: the result lies where the transformed volume is shown, without a transform of "
              "its own. Off: the result gets the same transform as the original."),
    ] = False  # fmt: skip
    denoise_method: Annotated[
        str, Param("Method", "Which denoiser runs. Greyed entries say what they lack.")
    ] = ""
    denoise_preset: Annotated[
        str, Param("Task", "Settings made for an anatomy or task; you can change them afterwards.")
    ] = ""
    denoise_strength: Annotated[
        float,
        Param("Strength", "0 is the original, bit for bit; 1 the full effect. Lower it when fine "
              "structure seems to vanish.", bounds=(0, 1)),
    ] = 1.0  # fmt: skip
    denoise_mask_segment: Annotated[
        str, Param("Segment", "The result equals the original outside this segment.")
    ] = ""
    denoise_guards: Annotated[
        bool,
        Param("Check the result",
              "Measures, in the background, whether noise or anatomy was removed: HU values, "
              "noise texture, edges, small marks, bone texture. About a minute for a large volume; "
              "you can go on working. Off: nothing is measured, and no cautions are given."),
    ] = True  # fmt: skip
    reconstruct_method: Annotated[
        str, Param("Method", "Which reconstructor runs. Greyed entries say what they lack.")
    ] = ""
    reconstruct_preset: Annotated[
        str, Param("Task", "Settings made for a number of views; you can change them afterwards.")
    ] = ""
    reconstruct_views: Annotated[
        int | None,
        Param("Views used", "Use only this many views, spread evenly.",
              bounds=(1, 20000), none="all", start=10),
    ] = None  # fmt: skip
    reconstruct_spacing_mm: Annotated[
        float | None,
        Param("Voxel size", "Edge of the cubic voxels of the result. Automatic: what the detector "
              "resolves. Larger is faster and needs less memory.", "mm", (0.001, 50), start=1.0),
    ] = None  # fmt: skip
    reconstruct_unit: Annotated[
        OutputUnit, Param("Values as", "HU, or attenuation in 1/mm.")
    ] = OutputUnit.HU  # fmt: skip
    reconstruct_mu_water_per_mm: Annotated[
        float,
        Param("Attenuation of water", "Turns attenuation into HU: 0.0192 at 120 kVp, about 0.02 "
              "for cone-beam CT.", "1/mm", (0.01, 0.2)),
    ] = MU_WATER_PER_MM  # fmt: skip
    reconstruct_calibrate: Annotated[
        bool,
        Param("Correct the geometry first",
              "Looks for small errors of the scan geometry before reconstructing: detector shift, "
              "tilt, arc, distance. A correction is used only if other views confirm it; the "
              "record says what was changed."),
    ] = False  # fmt: skip
    reconstruct_check: Annotated[
        bool,
        Param("Check the result against the views",
              "After reconstructing: fit of every view, prediction of a view that was left out, a "
              "map of what was measured and what inferred, scan geometry. Takes about twice as "
              "long as the reconstruction; the result is there before."),
    ] = False  # fmt: skip
    compare_mode: Annotated[
        Mode, Param("Layout", "How the volumes are shown.")
    ] = Mode.SIDE_BY_SIDE  # fmt: skip
    compare_plane: Annotated[
        Plane, Param("Slices", "Direction of the slices.")
    ] = Plane.AXIAL  # fmt: skip
    compare_blend: Annotated[
        float,
        Param("Blend", "0 shows the first volume, 1 the second.", bounds=(0, 1)),
    ] = 0.5  # fmt: skip
    compare_wipe: Annotated[
        float,
        Param("Wipe position", "Where the border between both volumes lies, as a share of the "
              "view. It can also be dragged in the view.", bounds=(0, 1)),
    ] = 0.5  # fmt: skip
    compare_wipe_direction: Annotated[
        WipeDirection, Param("Wipe direction", "Which way the border moves.")
    ] = WipeDirection.HORIZONTAL  # fmt: skip
    compare_divisions: Annotated[
        int, Param("Checkerboard fields", "Fields along each side.", bounds=(2, 32))
    ] = 6
    compare_interpolate: Annotated[
        bool,
        Param("Smooth display", "Off shows the voxels as they are: better for judging noise."),
    ] = True  # fmt: skip
    compare_charts: Annotated[
        bool,
        Param("Chart and table", "Add a chart and a table below the slices, for line profiles and "
              "measurements."),
    ] = False  # fmt: skip
    segment_by: Annotated[
        SegmentBy,
        Param("Segment", "A range of values, found in both volumes in the same way, or a segment "
              "of yours whose voxels are read in both."),
    ] = SegmentBy.BONE  # fmt: skip
    segment_lower: Annotated[
        float | None,
        Param("From", "Lowest value that belongs to the segment.", bounds=(-1e5, 1e6),
              none="no lower end", start=226.0),
    ] = 226.0  # fmt: skip
    segment_upper: Annotated[
        float | None,
        Param("To", "Highest value that belongs to the segment.", bounds=(-1e5, 1e6),
              none="no upper end", start=3071.0),
    ] = None  # fmt: skip
    segment_existing_id: Annotated[
        str, Param("Its segment", "The segment to read in both volumes.")
    ] = ""
    segment_smallest_mm3: Annotated[
        float,
        Param("Leave out islands below", "Smaller connected parts are removed; 0 keeps all.",
              "mm3", (0, 1e7)),
    ] = 0.0  # fmt: skip
    segment_largest_only: Annotated[
        bool, Param("Largest part only", "Keep one connected part.")
    ] = False
    segment_smoothing: Annotated[
        float,
        Param("Surface smoothing",
              "0 follows the voxels, 1 is smoothest. Smoothing shrinks thin bone: at 0.5 the bones "
              "of a knee lost an eighth of their volume, at 0.2 a fiftieth.", bounds=(0, 1)),
    ] = 0.2  # fmt: skip
    segment_decimation: Annotated[
        float,
        Param("Fewer triangles", "0 keeps all; 0.8 takes four of five away, for smaller files.",
              bounds=(0, 0.95)),
    ] = 0.0  # fmt: skip
    segment_format: Annotated[
        SurfaceFormat, Param("Surface file", "STL for printing and planning, or OBJ.")
    ] = SurfaceFormat.STL
    segment_folder: Annotated[str, Param("Folder", "Where surfaces are written.")] = ""
    export_folder: Annotated[str, Param("Folder", "Where files are written.")] = ""
    export_format: Annotated[
        VolumeFormat,
        Param("File type", "NRRD and NIfTI keep the position in the patient; TIFF only the voxel "
              "size."),
    ] = VolumeFormat.NRRD  # fmt: skip
    dicom_folder: Annotated[
        str, Param("Folder", "A new folder for the series is made in this one.")
    ] = ""
    dicom_description: Annotated[
        str,
        Param("Series description", "Empty takes the source's. What was done is always added."),
    ] = ""
    dicom_body_part: Annotated[
        str, Param("Body part", "Such as KNEE, where the source does not say it.")
    ] = ""
    dicom_keep_dose: Annotated[
        bool,
        Param("Keep the dose", "Keep CTDIvol. Off: nobody counts the dose of one scan twice."),
    ] = False
    export_record: Annotated[
        bool,
        Param("Write the record", "A .json file beside the volume says how it was made; "
              "'ctrestore replay' repeats it."),
    ] = True  # fmt: skip


NODES = (
    NodeField("input_volume", "Volume", "The CT volume to work on. It is never changed."),
    NodeField("denoise_roi", "Region", "A box (markups ROI); outside it the original stays.", ROI),
    NodeField("denoise_mask", "Inside a segment of", "Restrict the work to one segment.",
              SEGMENTATION),
    NodeField("denoise_output", "Result", "New volume, or one of yours to be replaced."),
    NodeField("reconstruct_stack", "Projections",
              "A stack of X-ray views with its scan geometry."),
    NodeField("reconstruct_like", "Same voxels as",
              "The result gets the voxel grid of this volume."),
    NodeField("reconstruct_roi", "Region",
              "A box (markups ROI): only this part is reconstructed.", ROI),
    NodeField("reconstruct_prior", "Earlier volume",
              "A volume of the same patient, for methods that can use one (prior image)."),
    NodeField("reconstruct_output", "Result", "New volume, or one of yours to be replaced."),
    NodeField("scan_volume", "Volume to scan", "The volume that the virtual scanner looks at."),
    NodeField("compare_a", "First (original)", "The volume shown first."),
    NodeField("compare_b", "Second", "Compared with the first."),
    NodeField("compare_c", "Third", "A further result."),
    NodeField("compare_d", "Fourth", "A further result."),
    NodeField("compare_line", "Profile along", "A line (markups) for the profile.", LINE),
    NodeField("compare_roi", "Measure in", "A box (markups ROI) in even tissue.", ROI),
    NodeField("compare_background", "Compare with",
              "A second box (markups ROI) for the contrast-to-noise ratio.", ROI),
    NodeField("segment_existing", "Your segmentation",
              "A segmentation of yours to evaluate on both volumes.", SEGMENTATION),
    NodeField("export_volume", "Volume", "The volume to write."),
)  # fmt: skip
"""Settings that name nodes."""


def method_prefix(method_id: str) -> str:
    """Return what the names of a method's parameters begin with in the parameter node."""
    return method_id.replace("-", "_") + "__"


SCAN_PREFIX = "scan__"


@cache
def all_settings() -> dict[str, Setting]:
    """Return every setting by its name in the parameter node."""
    out: dict[str, Setting] = {node.name: node for node in NODES}
    out |= {field.name: field for field in fields_of(PanelSettings)}
    out |= _prefixed(SCAN_PREFIX, ScanProtocol)
    for method_id, restorer in all_methods().items():
        out |= _prefixed(method_prefix(method_id), restorer.Params)
    return out


def _prefixed(prefix: str, params: type) -> dict[str, Setting]:
    return {
        prefix + field.name: dataclasses.replace(field, name=prefix + field.name)
        for field in fields_of(params)
    }
