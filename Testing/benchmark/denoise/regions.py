"""The scans of the benchmark: one patient per body region, micro-CT, and procedural vessels."""

from __future__ import annotations

from dataclasses import dataclass

from common.scans import Scanned

DOSES = (0.25, 0.10)


@dataclass(frozen=True)
class Region(Scanned):
    """One scan, and how it is scored.

    Parameters
    ----------
    window
        Lowest and highest value of the window of PSNR and SSIM, in HU or grey.
    normal_noise
        Noise level of the normal-dose scan; None: that measured in the scan itself.
    kernel
        Cutoff (cycles per pixel of the original scan) and power of the reconstruction kernel;
        None: fitted to the scan's own noise.
    correlation
        Noise correlation of neighbouring slices; None: the scan's own, within 0.1 to 0.3.
    pair
        Slices that are averaged into one slice of the reference.
    is_patient
        Pictures of patients stay on the machine that ran the benchmark.
    segment
        Name and threshold of the segment of the downstream test, or None.
    """

    window: tuple[float, float]
    normal_noise: float | None = None
    kernel: tuple[float, float] | None = None
    correlation: float | None = None
    pair: int = 1
    is_patient: bool = True
    segment: tuple[str, float] | None = None


LUNG, SOFT, BRAIN, BONE = (-1350.0, 150.0), (-160.0, 240.0), (0.0, 80.0), (-350.0, 1150.0)
"""Windows: chest (centre -600, width 1500) and brain (40/80) as in the low-dose CT benchmark of
Eulig et al. 2024; soft tissue as in the AAPM-Mayo protocol of RED-CNN; bone 400/1500."""

REGIONS = (
    Region("chest", "chest (LIDC 0314)", "chest_lidc0314_1mm.nii.gz", LUNG, pair=2),
    Region("abdomen", "abdomen (CRLM 1006)", "abdomen_crlm1006_5mm.nii.gz", SOFT),
    Region("head", "head (dicom2stl)", "head_dicom2stl_4mm.nii.gz", BRAIN),
    Region("knee", "knee (STS 047)", "knee_sts047_petct.nii.gz", BONE, segment=("bone", 200.0)),
    Region("hip", "hip (STS 015)", "hip_sts015_petct.nii.gz", BONE, segment=("bone", 200.0)),
    Region("pelvis", "pelvis (STS 007)", "hip_pelvis_sts007_petct.nii.gz", BONE,
           segment=("bone", 200.0)),
    Region("microct", "micro-CT bone (QIM)", "microct_bone_qim_128.tif", (0.0, 255.0),
           normal_noise=8.0, kernel=(0.40, 2.0), correlation=0.1, is_patient=False),
    Region("vessels", "contrast vessels (procedural)", "", SOFT, normal_noise=20.0,
           kernel=(0.40, 3.0), correlation=0.2, is_patient=False, segment=("vessels", 170.0)),
)  # fmt: skip
BY_NAME = {region.name: region for region in REGIONS}
