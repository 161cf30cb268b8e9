"""The judgement of removed noise on real scans: added noise is green, blur is red."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.units import Unit
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.quality.measure import measure
from ctrestorelib.quality.residual import residual_structure
from ctrestorelib.quality.result import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from quality_phantoms import ct_noise

FILES = ("knee_sts010_petct.nii.gz", "chest_cta_ts_1p5mm.nii.gz", "microct_bone_qim_128.tif")


def scan(path):
    spacing = {"spacing_mm": 0.05} if path.suffix == ".tif" else {}
    volume = read_volume(path, **spacing).volume
    k = min(32, volume.shape[0])
    return volume.crop((slice(volume.shape[0] - k, None), slice(0, 128), slice(0, 128)))


@pytest.mark.data
@pytest.mark.parametrize("name", FILES)
def test_added_noise_is_green_and_blur_is_red(data_file, name):
    clean = scan(data_file(name))
    sigma = 20.0 if clean.unit is Unit.HU else 5.0
    noisy = clean.with_values(clean.values + ct_noise(clean.shape, 1, sigma=sigma))
    assert residual_structure(noisy, clean).verdict is Verdict.GREEN
    blurred = clean.with_values(gaussian_filter(clean.values, (0, 1.5, 1.5)))
    found = residual_structure(clean, blurred)
    assert found.verdict is Verdict.RED
    assert found.worst_blocks(1)[0][1] > 4


@pytest.mark.data
def test_noise_that_was_added_is_found_again(data_file):
    clean = scan(data_file("knee_sts010_petct.nii.gz"))
    before = measure(clean)["noise"].value
    noisy = clean.with_values(clean.values + ct_noise(clean.shape, 2, sigma=25))
    assert measure(noisy)["noise"].value == pytest.approx(np.hypot(before, 25), rel=0.12)


@pytest.mark.data
def test_padding_of_a_thick_slice_scan_is_left_out(data_file):
    volume = read_volume(data_file("abdomen_crlm1006_5mm.nii.gz")).volume
    part = volume.crop((slice(20, 28), slice(None), slice(None)))
    report = measure(part)
    assert any("padding" in note for note in report.notes)
    assert 5 < report["noise"].value < 25
    assert report["edge_mtf50_fat_muscle"].value == pytest.approx(0.2, abs=0.08)
