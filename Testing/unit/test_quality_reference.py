"""Scores with a reference: closed forms, scikit-image and torchmetrics agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ctrestorelib.core.errors import GeometryError, UnitError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.quality.reference import psnr, rmse, ssim, vif
from ctrestorelib.quality.window import FIELD_WINDOW, Window


def pair(shape=(9, 50, 48)):
    rng = np.random.default_rng(0)
    truth = gaussian_filter(rng.normal(size=shape), (1, 3, 3)) * 20
    return (truth + rng.normal(0, 0.3, shape)).astype(np.float32), truth.astype(np.float32)


def test_rmse_and_psnr_of_a_constant_offset_are_exact():
    truth = np.zeros((2, 3, 4), np.float32)
    assert rmse(truth + 3, truth).value == pytest.approx(3)
    assert psnr(truth + 3, truth, data_range=30).value == pytest.approx(20)
    assert psnr(truth, truth, data_range=1).value == math.inf


def test_mask_restricts_the_error_to_its_voxels():
    truth = np.zeros((2, 3, 4), np.float32)
    image = truth.copy()
    image[0, 0, 0] = 8
    mask = np.zeros(truth.shape, bool)
    mask[0, 0, :2] = True
    assert rmse(image, truth, mask=mask).value == pytest.approx(8 / math.sqrt(2))
    assert rmse(image, truth, mask=~mask).value == 0


def test_psnr_agrees_with_scikit_image():
    image, truth = pair()
    expected = peak_signal_noise_ratio(truth, image, data_range=7)
    assert psnr(image, truth, data_range=7).value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("slices", [9, 31])
def test_volume_ssim_is_scikit_image_on_the_whole_array(slices):
    image, truth = pair((slices, 30, 28))
    expected = structural_similarity(truth.astype(float), image.astype(float), data_range=8)
    found = ssim(image, truth, data_range=8)
    assert found.value == pytest.approx(expected, abs=1e-10)
    assert "3d-uniform7" in found.protocol


def test_slice_ssim_is_the_mean_over_slices_of_scikit_image():
    image, truth = pair()
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    per_axis = [
        [
            structural_similarity(
                truth.take(n, axis).astype(float),
                image.take(n, axis).astype(float),
                data_range=8,
                **settings,
            )
            for n in range(truth.shape[axis])
        ]
        for axis in (0,)
    ]
    found = ssim(image, truth, data_range=8, protocol="2d-gaussian11")
    assert found.value == pytest.approx(np.mean(per_axis[0]), abs=1e-10)
    assert ssim(truth, truth, data_range=8, protocol="2d-gaussian11").value == pytest.approx(1)


def test_masked_ssim_looks_only_inside_the_mask():
    image, truth = pair()
    half = np.zeros(truth.shape, bool)
    half[:, :25] = True
    spoiled = image.copy()
    spoiled[:, 33:] += 100
    inside = ssim(spoiled, truth, data_range=8, mask=half).value
    assert inside == pytest.approx(ssim(image, truth, data_range=8, mask=half).value, abs=1e-10)
    assert ssim(spoiled, truth, data_range=8).value < inside - 0.05


def test_vif_agrees_with_torchmetrics():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    functional = pytest.importorskip(
        "torchmetrics.functional.image", reason="torchmetrics is not installed"
    )
    image, truth = pair((2, 60, 50))
    expected = [
        float(
            functional.visual_information_fidelity(
                *(torch.tensor(x[k] * 255 / 8)[None, None].double() for x in (image, truth))
            )
        )
        for k in range(2)
    ]
    assert vif(image, truth, data_range=8).value == pytest.approx(np.mean(expected), rel=1e-6)


def test_vif_is_one_for_the_reference_and_falls_with_blur_and_noise():
    image, truth = pair()
    blurred = gaussian_filter(truth, (0, 2, 2))
    assert vif(truth, truth, data_range=8).value == pytest.approx(1, abs=1e-6)
    assert vif(image, truth, data_range=8).value < 0.9
    assert vif(blurred, truth, data_range=8).value < 0.9


def test_window_maps_the_papers_range_to_one():
    assert FIELD_WINDOW.apply([-3000, -1000, 0, 1000, 4000]).tolist() == [0, 0, 0.5, 1, 1]
    with pytest.raises(UsageError, match="low < high"):
        Window(5, 5)


def test_too_small_volumes_say_what_they_lack():
    flat = np.zeros((1, 20, 20), np.float32)
    assert "at least" in ssim(flat, flat, data_range=1).not_measurable
    assert "41" in vif(flat, flat, data_range=1).not_measurable
    assert math.isnan(float(ssim(flat, flat, data_range=1)))


def test_mismatches_are_refused_in_words():
    a = Volume(np.zeros((2, 3, 4)), VolumeGeometry.from_spacing((2, 3, 4), (1, 1, 1)), Unit.HU)
    shifted = Volume(a.values, VolumeGeometry.from_spacing((2, 3, 4), (1, 1, 2)), Unit.HU)
    with pytest.raises(GeometryError, match="voxel size"):
        rmse(a, shifted)
    with pytest.raises(UnitError, match="1/mm"):
        rmse(a, a.with_values(a.values, Unit.PER_MM))
    with pytest.raises(GeometryError, match="shape"):
        rmse(a.values, a.values[:1])
    with pytest.raises(UsageError, match="positive"):
        psnr(a, a, data_range=0)
    with pytest.raises(UsageError, match="protocol"):
        ssim(a, a, data_range=1, protocol="mine")
    with pytest.raises(UsageError, match="no voxel"):
        rmse(a, a, mask=np.zeros(a.shape))
