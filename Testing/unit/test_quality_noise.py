"""The noise level is found whatever the grain, the tissue and the unit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.quality.flatness import sampled_slices
from ctrestorelib.quality.noise import estimate_noise


def noise(grain: float, shape=(12, 128, 128), sigma=20.0, seed=0) -> np.ndarray:
    """CT-like noise: band-passed, coarser for a larger grain (0 is white)."""
    from scipy.ndimage import gaussian_filter

    white = np.random.default_rng(seed).normal(size=shape)
    if grain:
        fine = gaussian_filter(white, (0, grain, grain))
        white = fine - gaussian_filter(fine, (0, 4 * grain, 4 * grain))
    return white * (sigma / white.std())


def body(shape=(12, 128, 128)) -> np.ndarray:
    """Muscle with a fat rim, a bone rod and vessels, in air; HU."""
    _k, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]]
    r = np.hypot(j - shape[1] / 2, i - shape[2] / 2)
    values = np.where(r < 58, -100.0, -1000.0)
    values[r < 44] = 50.0
    values[np.hypot(j - 50, i - 60) < 7] = 800.0
    values[(j % 16 < 3) & (r < 30)] = 180.0
    return values


def volume(values: np.ndarray, unit: Unit = Unit.HU, spacing=(0.8, 0.8, 1.0)) -> Volume:
    return Volume(values, VolumeGeometry.from_spacing(values.shape, spacing), unit)


@pytest.mark.parametrize("grain", [0.0, 0.6, 0.9])
def test_level_in_anatomy_is_right_for_white_and_grainy_noise(grain):
    estimate = estimate_noise(volume(body() + noise(grain)))
    assert estimate.method == "soft_tissue"
    assert estimate.sigma == pytest.approx(20, rel=0.08)
    assert estimate.tissues["fat"].sigma == pytest.approx(20, rel=0.12)
    assert estimate.tissues["fat"].mean == pytest.approx(-100, abs=8)
    assert estimate.interval[0] < estimate.sigma < estimate.interval[1]


def test_pixel_differences_would_have_failed_on_grainy_noise():
    grainy = noise(0.9)
    differences = np.diff(grainy, axis=2)
    assert np.median(np.abs(differences)) / 0.6745 / np.sqrt(2) < 0.7 * 20
    assert estimate_noise(volume(50 + grainy)).pixel_correlation[0] > 0.5
    assert abs(estimate_noise(volume(50 + noise(0))).pixel_correlation[0]) < 0.05


def test_level_follows_the_unit_and_the_noise():
    values = body() + noise(0.7)
    reference = estimate_noise(volume(values))
    mu = estimate_noise(volume(values).to_unit(Unit.PER_MM))
    assert mu.sigma == pytest.approx(reference.sigma * 0.0192 / 1000, rel=0.01)
    assert mu.unit is Unit.PER_MM
    loud = estimate_noise(volume(body() + 3 * noise(0.7)))
    assert loud.sigma == pytest.approx(3 * reference.sigma, rel=0.1)


@pytest.mark.parametrize("grain", [0.0, 0.8])
def test_grey_values_use_corrected_differences(grain):
    grey = 100 + 60 * (body() > 0) + noise(grain, sigma=5.0)
    estimate = estimate_noise(volume(grey, Unit.GREY))
    assert estimate.method == "differences"
    assert estimate.sigma == pytest.approx(5.0, rel=0.12)


def test_plastic_phantom_without_tissue_still_has_a_level():
    estimate = estimate_noise(volume(200 + noise(0.7, sigma=12)))
    assert estimate.method == "differences"
    assert estimate.sigma == pytest.approx(12, rel=0.12)
    assert estimate.tissues == {}


def test_slice_correlation_sees_overlapping_slices():
    independent = noise(0.7, (13, 128, 128))
    overlapping = (independent[1:] + independent[:-1]) / np.sqrt(2)
    rho = estimate_noise(volume(50 + overlapping)).slice_correlation
    assert rho[0] == pytest.approx(0.5, abs=0.05)
    assert abs(rho[1]) < 0.06
    assert abs(estimate_noise(volume(50 + independent)).slice_correlation[0]) < 0.06


def test_constant_volume_and_single_slices():
    still = estimate_noise(volume(np.full((3, 40, 40), 57.0)))
    assert (still.sigma, still.interval) == (0.0, (0.0, 0.0))
    single = estimate_noise(volume((body() + noise(0.7))[5:6]))
    assert single.sigma == pytest.approx(20, rel=0.12)
    assert single.slice_correlation == ()
    tiny = estimate_noise(volume(50 + noise(0, (1, 4, 4))))
    assert np.isfinite(tiny.sigma)


def test_padding_and_masked_out_regions_do_not_count():
    values = body() + noise(0.7)
    reference = estimate_noise(volume(values)).sigma
    padded = values.copy()
    padded[:, :, :20] = -3024
    assert estimate_noise(volume(padded)).sigma == pytest.approx(reference, rel=0.08)
    loud = values.copy()
    loud[:, 64:] += 4 * noise(0.7, seed=1)[:, 64:]
    mask = np.zeros(loud.shape, dtype=bool)
    mask[:, :64] = True
    assert estimate_noise(volume(loud), mask).sigma == pytest.approx(reference, rel=0.1)
    with pytest.raises(GeometryError, match="mask"):
        estimate_noise(volume(values), mask[:, :10])


def test_estimate_is_plain_json():
    record = json.loads(json.dumps(estimate_noise(volume(body() + noise(0.7))).to_json()))
    assert record["unit"] == "hu"
    assert set(record["tissues"]["soft_tissue"]) == {"sigma", "interval", "mean", "windows"}


def test_slices_are_sampled_over_the_whole_volume():
    assert sampled_slices(1) == [[0]]
    assert sampled_slices(5, groups=1) == [[0, 1, 2, 3]]
    runs = sampled_slices(300)
    assert len(runs) == 8
    assert runs[0][0] == 0
    assert runs[-1][-1] == 299


@pytest.mark.parametrize(
    ("name", "expected"),
    [("chest_lidc0314_1mm.nii.gz", 24.1), ("knee_sts010_petct.nii.gz", 10.9),
     ("headphantom_philips_YA_1mm.nii.gz", 18.2), ("head_dicom2stl_4mm.nii.gz", 5.3)],
)  # fmt: skip
def test_real_scans_agree_with_an_independent_measurement(data_file, name, expected):
    import SimpleITK

    image = SimpleITK.ReadImage(str(data_file(name)))
    scan = volume(SimpleITK.GetArrayFromImage(image), spacing=image.GetSpacing())
    assert estimate_noise(scan).sigma == pytest.approx(expected, rel=0.2)
