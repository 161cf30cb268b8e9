"""Every real NIfTI and TIFF volume is read with the facts that its description states."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.units import Unit
from ctrestorelib.io.volumes import read_volume

PET = (0.9766, 0.9766, 3.27)

HU_FILES = [
    ("chest_lidc0314_1mm.nii.gz", (512, 400, 120), (0.7812, 0.7812, 1.0), (-1000, 1766)),
    ("abdomen_crlm1006_5mm.nii.gz", (491, 338, 51), (0.8047, 0.8047, 5.0), (-3024, 1184)),
    ("chest_cta_ts_1p5mm.nii.gz", (120, 126, 164), (1.5, 1.5, 1.5), (-1078, 3343)),
    ("head_dicom2stl_4mm.nii.gz", (256, 256, 26), (1.25, 1.25, 4.0), (-1024, 1945)),
    ("leg_knee_vhf_1mm.nii.gz", (270, 255, 170), (1.0, 1.0, 1.0), (-1024, 1775)),
    ("headphantom_philips_UB_1mm.nii.gz", (305, 424, 50), (0.4512, 0.4512, 1.0), (-1024, 825)),
    ("headphantom_philips_YA_1mm.nii.gz", (305, 424, 50), (0.4512, 0.4512, 1.0), (-1024, 1024)),
    ("knee_sts010_petct.nii.gz", (185, 164, 59), PET, (-1000, 1537)),
    ("knee_sts047_petct.nii.gz", (185, 177, 58), PET, (-1000, 1524)),
    ("knee_tibia_sts028_petct.nii.gz", (173, 176, 68), PET, (-1000, 1507)),
    ("femur_distal_sts042_petct.nii.gz", (134, 162, 49), PET, (-1000, 1494)),
    ("thigh_knee_sts013_petct.nii.gz", (252, 215, 114), PET, (-1000, 1516)),
    ("ankle_sts049_petct.nii.gz", (232, 205, 92), PET, (-1000, 1641)),
    ("hip_pelvis_sts007_petct.nii.gz", (249, 215, 70), PET, (-1000, 1310)),
    ("hip_sts011_petct.nii.gz", (229, 214, 74), PET, (-1000, 1426)),
    ("hip_sts015_petct.nii.gz", (158, 165, 57), PET, (-1000, 1460)),
    ("hip_sts026_petct.nii.gz", (189, 190, 52), PET, (-1000, 1484)),
    ("pelvis_hip_sts018_petct.nii.gz", (172, 160, 55), PET, (-1000, 1287)),
    ("pelvis_hip_sts036_petct.nii.gz", (192, 192, 68), PET, (-1000, 1486)),
    ("shoulder_sts037_petct.nii.gz", (252, 203, 75), PET, (-1000, 1432)),
    ("hand_wrist_sts019_petct.nii.gz", (136, 134, 47), PET, (-1000, 1478)),
]

GREY_FILES = [
    ("microct_bone_qim_128.tif", (128, 128, 128), (0, 255)),
    ("microct_shell_qim_225x128x128.tif", (225, 128, 128), (0, 255)),
    ("microct_cement_qim_128.tif", (128, 128, 128), (16, 148)),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "size", "spacing", "extremes"), HU_FILES)
def test_nifti(data_file, name, size, spacing, extremes):
    read = read_volume(data_file(name))
    volume = read.volume
    assert volume.shape == size[::-1]
    np.testing.assert_allclose(volume.geometry.spacing_mm, spacing, atol=1e-4)
    assert (volume.values.min(), volume.values.max()) == extremes
    assert volume.unit is Unit.HU
    assert read.format == "nifti"
    assert {note.code for note in read.notes} == {"unit-guessed"}
    # All scans are axial: k runs along the body, whatever its sense.
    assert abs(volume.geometry.direction[2, 2]) > 0.9


@pytest.mark.data
@pytest.mark.parametrize(("name", "shape", "extremes"), GREY_FILES)
def test_tiff(data_file, name, shape, extremes):
    read = read_volume(data_file(name), spacing_mm=0.01)
    assert read.volume.shape == shape
    assert (read.volume.values.min(), read.volume.values.max()) == extremes
    assert read.volume.unit is Unit.GREY
    np.testing.assert_allclose(read.volume.geometry.spacing_mm, 0.01)
    codes = {note.code for note in read_volume(data_file(name)).notes}
    assert codes == {"spacing-assumed", "unit-guessed"}


@pytest.mark.data
def test_every_volume_of_the_folder_is_in_a_table(data_file):
    folder = data_file("README.md").parent
    there = {p.name for p in folder.iterdir() if p.name.endswith((".nii.gz", ".nii", ".tif"))}
    assert there == {row[0] for row in HU_FILES + GREY_FILES}


@pytest.mark.data
def test_dicom_goes_through_the_same_door(data_file):
    read = read_volume(data_file("dicom_headphantom_philips_tilt-18p5.zip"))
    assert (read.format, len(read.sop_instance_uids)) == ("dicom", 54)
    assert read.volume.shape == (54, 512, 512)
    assert read.volume.unit is Unit.HU
    assert not read.volume.geometry.is_orthogonal
