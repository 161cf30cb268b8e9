"""What a virtual scanner is set to, and the scan geometry that follows (layer: physics; numpy)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.params import Param, fields_of
from ctrestorelib.core.units import MU_WATER_PER_MM
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.frames import equal_angles, patient_to_gantry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry

DEFAULT_ELECTRONIC_SD = 3.3


@enum.unique
class BeamShape(str, enum.Enum):
    """Cone (flat panel), fan (one detector row) or parallel."""

    CONE = "cone"
    FAN = "fan"
    PARALLEL = "parallel"


@enum.unique
class Orientation(str, enum.Enum):
    """What the gantry turns about: the patient's long axis, or the world's y axis (RTK)."""

    PATIENT = "patient"
    WORLD = "world"


@enum.unique
class Isocentre(str, enum.Enum):
    """Which point the gantry turns about: the volume's middle or the world's origin."""

    VOLUME = "volume"
    ORIGIN = "origin"


@dataclass(frozen=True, kw_only=True)
class ScanProtocol:
    """The settings of a virtual scan.

    Every field has a default: a noise-free full turn of 180 views with a detector that covers the
    volume. The misalignment fields move the *true* scanner; the geometry that is handed on with the
    projections does not know of them, as in a scanner that is out of calibration.

    Raises
    ------
    UsageError
        If a value is out of its range.
    """

    views: Annotated[
        int, Param("Views", "Number of X-ray views (projections).", bounds=(1, 20000))
    ] = 180
    arc_deg: Annotated[
        float,
        Param(
            "Arc", "Angle over which the views are spread evenly.", unit="deg", bounds=(0.01, 360)
        ),
    ] = 360.0
    start_deg: Annotated[
        float,
        Param(
            "First view",
            "Angle of the first view: 0 looks from the front of a patient, 90 from the left.",
            unit="deg",
            advanced=True,
        ),
    ] = 0.0
    beam: Annotated[
        BeamShape,
        Param("Beam", "Cone for a flat panel, fan for a single detector row, or parallel."),
    ] = BeamShape.CONE
    orientation: Annotated[
        Orientation,
        Param(
            "Rotation axis",
            "patient: the gantry turns about the long axis of the body. world: about the y axis of "
            "the volume's world, as RTK does.",
            advanced=True,
        ),
    ] = Orientation.PATIENT
    isocentre: Annotated[
        Isocentre,
        Param(
            "Isocentre",
            "Where the rotation axis passes: the volume's middle or the origin.",
            advanced=True,
        ),
    ] = Isocentre.VOLUME
    sod_mm: Annotated[
        float,
        Param("Source to axis", "Distance from the X-ray source to the rotation axis.", unit="mm",
              bounds=(1, None)),
    ] = 1000.0  # fmt: skip
    sdd_mm: Annotated[
        float,
        Param("Source to detector", "Distance from the X-ray source to the detector.", unit="mm",
              bounds=(1, None)),
    ] = 1500.0  # fmt: skip
    rows: Annotated[
        int | None,
        Param(
            "Detector rows",
            "Automatic: covers the volume.",
            bounds=(1, 8192),
            advanced=True,
            start=256,
        ),
    ] = None
    cols: Annotated[
        int | None,
        Param(
            "Detector columns",
            "Automatic: covers the volume.",
            bounds=(1, 8192),
            advanced=True,
            start=256,
        ),
    ] = None
    pixel_mm: Annotated[
        float | None,
        Param(
            "Pixel size",
            "Edge of a detector pixel. Automatic: the smallest voxel edge times the magnification.",
            unit="mm",
            bounds=(0.001, None),
            start=0.5,
        ),
    ] = None
    offset_mm: Annotated[
        float,
        Param(
            "Detector offset",
            "Sideways shift of the detector for a wider field of view (offset scan, full turn).",
            unit="mm",
            advanced=True,
        ),
    ] = 0.0
    i0: Annotated[
        float | None,
        Param(
            "Photons per pixel",
            "Photons that reach a pixel without an object: 1e5 is a usual dose, 1e4 is low. "
            "Automatic: no noise at all.",
            bounds=(1, None),
            none="no noise",
            start=1e5,
        ),
    ] = None
    electronic_sd: Annotated[
        float,
        Param("Electronic noise", "Standard deviation of the detector's own noise.", unit="counts",
              bounds=(0, None), advanced=True),
    ] = DEFAULT_ELECTRONIC_SD  # fmt: skip
    bowtie: Annotated[
        bool,
        Param(
            "Bowtie filter",
            "Weaken the beam towards its edges, as a clinical scanner does.",
            advanced=True,
        ),
    ] = False
    mu_water_per_mm: Annotated[
        float,
        Param(
            "Attenuation of water",
            "Turns HU into attenuation.",
            unit="1/mm",
            bounds=(0.01, 0.2),
            advanced=True,
        ),
    ] = MU_WATER_PER_MM
    detector_blur_px: Annotated[
        float,
        Param("Detector blur", "Standard deviation of the detector's blur.", unit="pixels",
              bounds=(0, 10), advanced=True),
    ] = 0.0  # fmt: skip
    oversample: Annotated[
        int,
        Param(
            "Rays per pixel edge",
            "Rays averaged along each edge of a pixel, as intensities. More is truer and slower.",
            bounds=(1, 6),
            advanced=True,
        ),
    ] = 2
    refine: Annotated[
        int,
        Param(
            "Finer volume",
            "The volume is interpolated to voxels this many times smaller before it is projected, "
            "so that a reconstruction on its own grid is not flattered.",
            bounds=(1, 4),
            advanced=True,
        ),
    ] = 2
    as_counts: Annotated[
        bool,
        Param("Counts", "Give photon counts instead of line integrals; needs i0.", advanced=True),
    ] = False
    shift_u_mm: Annotated[
        float,
        Param("Hidden shift, columns", "Detector shift that the geometry does not know.", unit="mm",
              advanced=True),
    ] = 0.0  # fmt: skip
    shift_v_mm: Annotated[
        float,
        Param("Hidden shift, rows", "Detector shift that the geometry does not know.", unit="mm",
              advanced=True),
    ] = 0.0  # fmt: skip
    tilt_deg: Annotated[
        float,
        Param("Hidden tilt", "In-plane detector rotation that the geometry does not know.",
              unit="deg", bounds=(-45, 45), advanced=True),
    ] = 0.0  # fmt: skip
    angle_jitter_deg: Annotated[
        float,
        Param("Hidden angle error", "Standard deviation of each view's unknown angle error.",
              unit="deg", bounds=(0, 45), advanced=True),
    ] = 0.0  # fmt: skip

    def __post_init__(self) -> None:
        for field in fields_of(ScanProtocol):
            object.__setattr__(self, field.name, field.check(getattr(self, field.name)))

    @property
    def is_misaligned(self) -> bool:
        """Whether the true scanner differs from the geometry that is handed on."""
        return any((self.shift_u_mm, self.shift_v_mm, self.tilt_deg, self.angle_jitter_deg))

    @property
    def magnification(self) -> float:
        """Size of a shadow on the detector relative to an object on the rotation axis."""
        return 1.0 if self.beam is BeamShape.PARALLEL else self.sdd_mm / self.sod_mm

    def world_to_gantry(self, volume: VolumeGeometry) -> NDArray[np.float64]:
        """Return the 4x4 map from the volume's world to the gantry frame."""
        centre = np.zeros(3) if self.isocentre is Isocentre.ORIGIN else volume.centre_lps_mm
        if self.orientation is Orientation.PATIENT:
            return patient_to_gantry(centre)
        out = np.eye(4)
        out[:3, 3] = -centre
        return out

    def geometry_for(self, volume: VolumeGeometry) -> ConeBeamGeometry:
        """Return the scan geometry of this protocol for a volume.

        Raises
        ------
        GeometryError
            If source and detector distances do not fit each other or the volume.
        """
        return self._circle(volume, equal_angles(self.views, self.arc_deg, self.start_deg))

    def true_geometry_for(
        self, volume: VolumeGeometry, rng: np.random.Generator
    ) -> ConeBeamGeometry:
        """Return where the scanner really was: :meth:`geometry_for` with the misalignment."""
        angles = equal_angles(self.views, self.arc_deg, self.start_deg)
        angles = angles + np.deg2rad(self.angle_jitter_deg) * rng.standard_normal(self.views)
        return self._circle(
            volume, angles, (self.shift_v_mm, self.shift_u_mm), np.deg2rad(self.tilt_deg)
        )

    def _circle(
        self,
        volume: VolumeGeometry,
        angles_rad: NDArray[np.float64],
        shift_mm: tuple[float, float] = (0.0, 0.0),
        tilt_rad: float = 0.0,
    ) -> ConeBeamGeometry:
        pixel = self.pixel_mm or min(volume.spacing_mm) * self.magnification
        return ConeBeamGeometry.circular(
            sod_mm=self.sod_mm,
            sdd_mm=self.sdd_mm,
            angles_rad=angles_rad,
            detector_shape=self._detector_shape(volume, pixel),
            pixel_mm=(pixel, pixel),
            offset_mm=(shift_mm[0], self.offset_mm + shift_mm[1]),
            tilt_rad=(0.0, 0.0, tilt_rad),
            world_to_gantry=self.world_to_gantry(volume),
            beam=Beam.PARALLEL if self.beam is BeamShape.PARALLEL else Beam.CONE,
        )

    def _detector_shape(self, volume: VolumeGeometry, pixel_mm: float) -> tuple[int, int]:
        rows, cols = self.rows, self.cols
        if self.beam is BeamShape.FAN:
            rows = 1
        if rows is None or cols is None:
            half_u, half_v = self._shadow_mm(volume)
            # An offset detector reaches the edge of the shadow on one side only.
            half_u = max(half_u - abs(self.offset_mm), half_u / 8)
            cols = cols or _even(2 * half_u / pixel_mm)
            rows = rows or _even(2 * half_v / pixel_mm)
        return rows, cols

    def _shadow_mm(self, volume: VolumeGeometry) -> tuple[float, float]:
        """Half width and half height of the shadow of the volume's bounding cylinder."""
        radius, height = bounding_cylinder(volume, self.world_to_gantry(volume))
        if self.beam is BeamShape.PARALLEL:
            return radius, height
        if radius >= self.sod_mm:
            raise source_inside(radius, self.sod_mm)
        tangent = self.sdd_mm * radius / np.sqrt(self.sod_mm**2 - radius**2)
        return float(tangent), self.sdd_mm * height / (self.sod_mm - radius)


def bounding_cylinder(
    volume: VolumeGeometry, world_to_gantry: NDArray[np.float64]
) -> tuple[float, float]:
    """Return radius and half height in mm of the cylinder about the axis that holds all voxels."""
    k, j, i = volume.shape
    corners = [(a, b, c) for a in (-0.5, i - 0.5) for b in (-0.5, j - 0.5) for c in (-0.5, k - 0.5)]
    x, y, z = (volume.to_world(corners) @ world_to_gantry[:3, :3].T + world_to_gantry[:3, 3]).T
    return float(np.hypot(x, z).max()), float(np.abs(y).max())


def source_inside(radius_mm: float, sod_mm: float) -> GeometryError:
    """Return the error of a source that would turn inside the object."""
    message = (
        f"The object reaches {radius_mm:.0f} mm from the rotation axis, but the X-ray source turns "
        f"at {sod_mm:.0f} mm (sod_mm): it would pass through the object."
    )
    hint = "Increase sod_mm and sdd_mm, crop the volume, or put the isocentre into the volume."
    return GeometryError(message, hint=hint)


def _even(size: float) -> int:
    return max(2, 2 * int(np.ceil(size / 2 - 1e-6)))
