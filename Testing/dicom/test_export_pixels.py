"""Stored numbers: rounded, clipped and counted, padding kept apart from air."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.dicom_export import export_series
from ctrestorelib.io.dicom_series import read_series

sys.path.insert(0, str(Path(__file__).parent))
from export_sources import PADDING_HU, datasets, record, restored, write_source


def volume_of(values, unit=Unit.HU):
    values = np.asarray(values, dtype=np.float32)
    return Volume(values, VolumeGeometry.from_spacing(values.shape, (1, 1, 1)), unit)


def exported(volume, folder, **more):
    report = export_series(volume, more.pop("made", None), folder, **more)
    return (
        report,
        np.array([ds.pixel_array for ds in datasets(report.files)]),
        datasets(report.files),
    )


def test_values_are_rounded_to_the_nearest_and_clipped_with_a_count(tmp_path):
    row = [-0.9, 0.4, 40.9, -1000.49, 70000.0, -40000.0, 32767.4, -32768.4]
    report, stored, headers = exported(volume_of([[row, row]]), tmp_path / "o")
    assert stored[0, 0].tolist() == [-1, 0, 41, -1000, 32767, -32768, 32767, -32768]
    assert report.clipped == 4
    assert [n.code for n in report.notes].count("clipped") == 1
    ds = headers[0]
    assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (16, 16, 15, 1)
    assert (ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType) == (1, 0, "HU")
    assert len(ds.PixelData) == ds.Rows * ds.Columns * 2


def test_rounding_has_no_bias(tmp_path):
    values = np.random.default_rng(3).uniform(-1000, 2000, (4, 64, 64)).astype(np.float32)
    _, stored, _ = exported(volume_of(values), tmp_path / "o")
    assert abs(float((stored - values).mean())) < 0.02
    assert np.abs(stored - values).max() <= 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused(tmp_path, bad):
    values = np.zeros((2, 3, 4))
    values[1, 2, 3] = bad
    with pytest.raises(InputError, match="not numbers"):
        export_series(volume_of(values), None, tmp_path / "o")
    assert not any(tmp_path.iterdir())


def test_padding_becomes_a_signed_element_in_the_new_scale(tmp_path):
    source = write_source(tmp_path / "s", padding=True)
    volume, made = restored(source)
    assert (volume.values == PADDING_HU).any()
    _, stored, headers = exported(volume, tmp_path / "o", made=made, source=source)
    for ds in headers:
        assert ds["PixelPaddingValue"].VR == "SS"
        assert ds.PixelPaddingValue == PADDING_HU
        assert "PixelPaddingRangeLimit" not in ds
    assert np.array_equal(stored == PADDING_HU, volume.values == PADDING_HU)
    again = read_series(tmp_path / "o")
    assert [n.code for n in again.notes].count("padding") == 1


def test_values_below_the_padding_become_padding(tmp_path):
    source = write_source(tmp_path / "s", padding=True)
    volume, made = restored(source)
    values = volume.values.copy()
    values[0, 5, 5] = PADDING_HU - 200
    _, stored, _ = exported(volume.with_values(values), tmp_path / "o", made=made, source=source)
    assert stored[0, 5, 5] == PADDING_HU


def test_a_padding_value_that_is_air_is_not_declared(tmp_path):
    source = write_source(tmp_path / "s", edit=lambda ds, _k: ds.add_new(0x00280120, "SS", 0))
    volume, made = restored(source)
    values = volume.values.copy()
    values[0, 0, 0] = -1030.0  # noise in air, below the -1024 HU of the declared padding
    _, stored, headers = exported(
        volume.with_values(values), tmp_path / "o", made=made, source=source
    )
    assert stored[0, 0, 0] == -1030
    assert not any("PixelPaddingValue" in ds for ds in headers)


def test_attenuation_becomes_hu_with_the_water_of_the_record(tmp_path):
    made = record(role="projections", method="fdk", options={"mu_water_per_mm": 0.02})
    volume = volume_of([[[0.0, 0.02, 0.04]]], Unit.PER_MM)
    report, stored, _ = exported(volume, tmp_path / "o", made=made)
    assert stored[0, 0].tolist() == [-1000, 0, 1000]
    assert "hu-from-attenuation" in [n.code for n in report.notes]


def test_whole_grey_values_are_stored_as_they_are_and_said_to_be_grey(tmp_path):
    _, stored, headers = exported(volume_of([[[0, 7, 255]]], Unit.GREY), tmp_path / "o")
    assert stored[0, 0].tolist() == [0, 7, 255]
    assert headers[0].RescaleType == "US"
    assert read_series(tmp_path / "o").volume.unit == Unit.GREY


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3e-5, 8e-5), (1e6, 2e6), (0.5, 0.5)])
def test_fractional_grey_values_use_the_whole_range(tmp_path, low, high):
    values = np.linspace(low, high, 60).reshape(3, 4, 5).astype(np.float32)
    report, stored, headers = exported(volume_of(values, Unit.GREY), tmp_path / "o")
    ds = headers[0]
    back = stored * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    assert np.abs(back - values).max() <= max(0.51 * (high - low) / 65534, 1e-6 * abs(high))
    assert report.clipped == 0
    assert ds.RescaleType == "US"
