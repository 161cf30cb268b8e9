"""Level, texture and slice correlation of a scan's noise are found, and told in plain words."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.quality.noise_spectrum import NoiseSpectrum
from ctrestorelib.quality.scan_noise import ScanNoise, SelfTraining, describe_noise

sys.path.insert(0, str(Path(__file__).parent.parent))
from quality_phantoms import ct_noise, leg, volume

SHAPE = (14, 144, 144)


def scan(next_slice=0.3, cutoff=0.3, spacing=(0.8, 0.8, 1.0), seed=0):
    """Return even soft tissue with 20 HU of noise; rho_1 is next_slice / (1 + next_slice^2)."""
    return volume(40 + ct_noise(SHAPE, seed, 20, cutoff, next_slice), spacing)


def first_slices(path, count):
    whole = read_volume(path).volume
    return volume(whole.values[:count], whole.geometry.spacing_mm)


@pytest.mark.parametrize(
    ("next_slice", "step", "training"),
    [(0.0, 1, SelfTraining.INTERSLICE), (0.5, 2, SelfTraining.CORRECTED)],
)
def test_correlation_says_which_training_is_allowed(next_slice, step, training):
    found = describe_noise(scan(next_slice))
    assert found.rho[0] == pytest.approx(next_slice / (1 + next_slice**2), abs=0.04)
    assert len(found.rho) == 6
    assert found.independent_step == step
    assert found.training is training
    assert found.trust in ("good", "fair")
    assert found.spectrum.slices_apart == step
    assert found.spectrum.level == pytest.approx(1, abs=0.1)


def test_slices_that_repeat_each_other_permit_recorruption_only():
    values = np.repeat(40 + ct_noise((4, 144, 144), 0), 4, axis=0)
    found = describe_noise(volume(values.astype(np.float32)))
    assert found.rho[0] > 0.6
    assert found.training is SelfTraining.RECORRUPTION
    assert any("overlap" in s for s in found.advice())


def test_thick_slices_are_measured_one_by_one_and_say_so():
    found = describe_noise(scan(0.5, spacing=(0.8, 0.8, 5.0)))
    assert found.spectrum.slices_apart == 0
    assert found.training is SelfTraining.RECORRUPTION
    assert any("10 mm apart" in s for s in found.remarks)
    assert any("5 mm apart" in s for s in found.advice())


@pytest.mark.parametrize(("cutoff", "word"), [(0.15, "very smooth"), (0.5, "standard")])
def test_sharpness_follows_the_kernel(cutoff, word):
    found = describe_noise(scan(cutoff=cutoff))
    assert found.sharpness == word
    # The noise's radial power is f exp(-2 (f / fc)^2), with fc in cycles per pixel of 0.8 mm.
    expected = 0.5 * cutoff / 0.8
    assert found.spectrum.f_peak_per_mm == pytest.approx(expected, abs=0.06)
    assert found.spectrum.f_av_per_mm < found.spectrum.f_90_per_mm


def test_anatomy_hardly_changes_the_texture():
    truth, _ = leg((14, 144, 144))
    noise = ct_noise(truth.shape, 1)
    even, real = describe_noise(volume(40 + noise)), describe_noise(volume(truth + noise))
    assert real.spectrum.f_av_per_mm == pytest.approx(even.spectrum.f_av_per_mm, rel=0.1)
    assert real.rho[0] == pytest.approx(even.rho[0], abs=0.08)


def test_streaks_have_a_strength_and_a_direction():
    rng = np.random.default_rng(2)
    white = rng.normal(size=SHAPE)
    u, v = np.meshgrid(np.fft.fftfreq(144), np.fft.fftfreq(144))
    power = 1 + 0.6 * np.cos(2 * (np.arctan2(v, u) - 0.5))
    streaky = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(power)).real
    found = describe_noise(volume((40 + 20 * streaky).astype(np.float32))).spectrum
    assert found.streak == pytest.approx(0.6, abs=0.08)
    assert found.streak_rad == pytest.approx(0.5, abs=0.08)
    assert describe_noise(scan()).spectrum.streak < 0.1


def test_planes_of_the_model_are_normalised_and_never_negative():
    found = describe_noise(scan(0.5)).spectrum
    for rows, columns in ((64, 64), (33, 50)):
        plane = found.plane(rows, columns, 0.8, 0.8)
        assert plane.shape == (rows, columns)
        assert plane.min() >= 0
        assert plane.mean() == pytest.approx(1)
    along = found.along_k(32)
    assert along.min() >= 0
    assert np.fft.ifft(along).real[1] == pytest.approx(0.4, abs=0.04)


def test_json_round_trip_keeps_all_but_the_map():
    first = describe_noise(scan())
    record = json.loads(json.dumps(first.to_json()))
    again = ScanNoise.from_json(record)
    assert again.sigma is None
    assert again.estimate == first.estimate
    assert again.correlation == first.correlation
    assert (again.training, again.sharpness, again.advice()) == (
        first.training, first.sharpness, first.advice())  # fmt: skip
    np.testing.assert_array_equal(again.spectrum.power, first.spectrum.power)
    del record["sigma_range"]
    with pytest.raises(InputError, match="sigma_range"):
        ScanNoise.from_json(record)
    with pytest.raises(InputError, match="power is missing"):
        NoiseSpectrum.from_json({"frequency_per_mm": []})


def test_what_cannot_be_measured_says_why():
    single = describe_noise(volume(40 + ct_noise((1, 144, 144), 0)))
    assert single.rho == ()
    assert single.training is SelfTraining.RECORRUPTION
    assert any("too few slices" in s for s in single.remarks)
    still = describe_noise(volume(np.full((4, 64, 64), 40.0, dtype=np.float32)))
    assert still.training is SelfTraining.NONE
    assert still.sharpness == "unknown"
    assert still.remarks
    tiny = describe_noise(volume(40 + ct_noise((4, 12, 12), 0)))
    assert any("smaller than 16" in s for s in tiny.advice())


def test_grey_volumes_have_no_tissues_but_a_noise():
    found = describe_noise(volume(100 + ct_noise(SHAPE, 0, 5.0), (1, 1, 1), Unit.GREY))
    assert found.unit is Unit.GREY
    assert found.sigma.typical == pytest.approx(5, rel=0.15)
    assert found.spectrum.tissue == "homogeneous material"


def test_paired_kernels_of_one_scan_differ_as_they_should(data_file):
    sharp, smooth = (
        describe_noise(first_slices(data_file(f"headphantom_philips_{n}_1mm.nii.gz"), 12))
        for n in ("YA", "UB")
    )
    assert (sharp.sharpness, smooth.sharpness) == ("sharp", "smooth")
    assert sharp.estimate.sigma > 4 * smooth.estimate.sigma
    assert sharp.spectrum.f_av_per_mm > 1.5 * smooth.spectrum.f_av_per_mm
