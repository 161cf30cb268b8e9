"""What is scanned: one volume per body region of the validation list, and objects unlike them."""

from __future__ import annotations

from dataclasses import dataclass

from common.scans import Scanned

WINDOW_HU = (-1000.0, 1000.0)
"""Window of PSNR, SSIM and VIF: that of the published tables."""

BODY_CUBE_MM, KNEE_CUBE_MM, MICRO_CUBE_MM = 409.6, 204.8, 64.0


@dataclass(frozen=True)
class Subject(Scanned):
    """One object, and the geometry it is scanned in.

    Parameters
    ----------
    cube_mm
        Edge of the reconstructed cube; 0 where the file holds measured projections.
    is_knee_scan
        Whether the published knee geometry (SOD 1000, SDD 2000) is used, not that of the body.
    is_outside
        Whether it is unlike everything that the networks were trained on.
    bone_hu
        Threshold of the bone segment that is compared, None for no segment.
    """

    cube_mm: float = BODY_CUBE_MM
    is_knee_scan: bool = False
    is_outside: bool = False
    bone_hu: float | None = None

    @property
    def is_measured(self) -> bool:
        """Whether the projections come from a real detector."""
        return self.cube_mm == 0.0


def _disc(letters: str) -> Subject:
    file = f"proj_htc2022_{letters}_fanbeam_30deg.mat"
    return Subject(f"disc-{letters}", f"acrylic disc {letters} (HTC 2022, measured, 30 degrees)",
                   file, 0.0, is_outside=True)  # fmt: skip


SUBJECTS = (
    Subject("knee", "knee (STS 047)", "knee_sts047_petct.nii.gz", bone_hu=200.0),
    Subject("knee-own", "knee (STS 047), published knee geometry", "knee_sts047_petct.nii.gz",
            KNEE_CUBE_MM, is_knee_scan=True, bone_hu=200.0),
    Subject("hip", "hip (STS 015)", "hip_sts015_petct.nii.gz"),
    Subject("pelvis", "pelvis (STS 007)", "hip_pelvis_sts007_petct.nii.gz", bone_hu=200.0),
    Subject("chest", "chest (LIDC 0314)", "chest_lidc0314_1mm.nii.gz"),
    Subject("abdomen", "abdomen (CRLM 1006)", "abdomen_crlm1006_5mm.nii.gz"),
    Subject("head", "head (dicom2stl)", "head_dicom2stl_4mm.nii.gz"),
    Subject("microct", "micro-CT bone (QIM)", "microct_bone_qim_128.tif", MICRO_CUBE_MM,
            is_outside=True),
    Subject("implant", "knee with a titanium plate (procedural)", "", KNEE_CUBE_MM,
            is_knee_scan=True, is_outside=True),
    _disc("ta"), _disc("tc"), _disc("td"),
    Subject("tooth", "tooth (APS, measured, parallel beam)", "proj_tooth_parallel.h5", 0.0,
            is_outside=True),
)  # fmt: skip
BY_NAME = {subject.name: subject for subject in SUBJECTS}
