"""Stored numbers become HU by the standard's formula; oddities are noted, nothing is guessed."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.io.dicom_series import read_series


def codes(read) -> set[str]:
    return {n.code for n in read.notes}


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_stored_types_give_the_same_hu(make_series, dtype):
    stored = np.random.default_rng(0).integers(0, 3000, (3, 7, 5)).astype(dtype)
    read = read_series(make_series(stored))
    np.testing.assert_array_equal(read.volume.values, stored.astype(np.float32) - 1024)
    assert read.volume.values.dtype == np.float32
    assert codes(read) == set()


def test_negative_stored_values(make_series):
    stored = np.array([[[-1024, -1], [0, 3071]]] * 2, np.int16)
    read = read_series(make_series(stored, rescale=(1, 0)))
    np.testing.assert_array_equal(read.volume.values, stored)


def test_each_slice_has_its_own_rescale(make_series):
    stored = np.full((4, 3, 3), 100, np.uint16)

    def vary(ds, k):
        ds.RescaleSlope, ds.RescaleIntercept = str(k + 1), str(-10 * k)

    read = read_series(make_series(stored, edit=vary))
    assert read.volume.values[:, 0, 0].tolist() == [100, 190, 280, 370]


@pytest.mark.parametrize("bits", [8, 32])
def test_other_pixel_widths(make_series, bits):
    values = np.arange(12).reshape(3, 4)

    def rewrite(ds, k):
        ds.BitsAllocated = ds.BitsStored = bits
        ds.HighBit = bits - 1
        ds.Rows, ds.Columns, ds.PixelRepresentation = 3, 4, 0
        data = (values + k).astype(f"<u{bits // 8}").tobytes()
        ds["PixelData"] = pydicom.DataElement(0x7FE00010, "OB", data)

    read = read_series(make_series(np.zeros((2, 3, 4), np.uint16), rescale=(1, 0), edit=rewrite))
    np.testing.assert_array_equal(read.volume.values, np.stack([values, values + 1]))


@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_the_stored_ones_are_cut_with_a_note(make_series, signed):
    wanted = np.array([[5, 2047], [1000, 0]]) - (1000 if signed else 0)
    stored = ((wanted & 0xFFF) | 0x5000).astype(np.uint16)

    def declare(ds, k):
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, int(signed)

    read = read_series(make_series(np.stack([stored] * 2), rescale=(1, 0), edit=declare))
    np.testing.assert_array_equal(read.volume.values[0], wanted)
    assert codes(read) == {"bits-cut"}


def test_sign_extended_twelve_bit_values_are_clean(make_series):
    stored = np.array([[[-1000, 2047], [0, -1]]] * 2, np.int16)

    def declare(ds, k):
        ds.BitsStored, ds.HighBit = 12, 11

    read = read_series(make_series(stored, rescale=(1, 0), edit=declare))
    np.testing.assert_array_equal(read.volume.values, stored)
    assert codes(read) == set()


@pytest.mark.parametrize("vr", ["SS", "US"])
def test_padding_is_kept_and_counted_whatever_its_vr(make_series, vr):
    stored = np.zeros((2, 10, 10), np.int16)
    stored[:, :3] = -2000

    def declare(ds, k):
        ds.add_new("PixelPaddingValue", vr, -2000 if vr == "SS" else 63536)

    read = read_series(make_series(stored, edit=declare))
    assert read.volume.values.min() == -3024
    assert codes(read) == {"padding"}
    assert "60 voxels (30.0 %)" in read.notes[0].text
    assert "-3024 HU" in read.notes[0].text


def test_padding_range_is_counted(make_series):
    stored = np.arange(100, dtype=np.uint16).reshape(1, 10, 10).repeat(2, axis=0)

    def declare(ds, k):
        ds.add_new("PixelPaddingValue", "US", 0)
        ds.add_new("PixelPaddingRangeLimit", "US", 9)

    read = read_series(make_series(stored, edit=declare))
    assert "20 voxels (10.0 %)" in read.notes[0].text


def test_clipping_at_twelve_bits_is_noted(make_series):
    stored = np.full((2, 10, 10), 1000, np.uint16)
    stored[:, 4:6] = 4095
    read = read_series(make_series(stored))
    assert codes(read) == {"clipped"}
    assert "40 voxels" in read.notes[0].text
    assert "3071 HU" in read.notes[0].text


def tags(**values):
    def edit(ds, k):
        for name, value in values.items():
            setattr(ds, name, value)

    return edit


@pytest.mark.parametrize(
    ("edit", "unit", "code"),
    [
        (tags(RescaleType="US"), Unit.GREY, "rescale-type"),
        (tags(RescaleType="HU"), Unit.HU, None),
        (tags(Modality="MR"), Unit.GREY, "modality-not-ct"),
        (tags(PhotometricInterpretation="MONOCHROME1"), Unit.HU, "monochrome1"),
        (tags(LossyImageCompression="01"), Unit.HU, "lossy-compression"),
        (tags(RescaleSlope="0.5"), Unit.HU, "slope-fractional"),
    ],
)
def test_unit_and_notes_follow_the_header(make_series, edit, unit, code):
    read = read_series(make_series(edit=edit))
    assert read.volume.unit == unit
    assert codes(read) == ({code} if code else set())


def test_no_rescale_gives_grey_values(make_series):
    stored = np.full((2, 4, 4), 77, np.uint16)
    read = read_series(make_series(stored, rescale=None))
    assert read.volume.unit == Unit.GREY
    assert (read.volume.values == 77).all()
    assert codes(read) == {"rescale-absent"}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda ds, k: ds.pop("RescaleSlope") and None if k < 2 else None,
            "2 of 6 images have no rescale",
        ),
        (tags(RescaleSlope="0"), "rescale slope of 0"),
        (tags(SamplesPerPixel=3, PhotometricInterpretation="RGB"), "colour pictures"),
        (tags(BitsAllocated=12), "16 bits in 12"),
        (
            lambda ds, k: ds.pop("PixelData") and None,
            "truncated in 6 of 6 files: the first of them holds 0 of 240",
        ),
    ],
)
def test_unreadable_values_are_refused(make_series, edit, words):
    with pytest.raises(InputError) as caught:
        read_series(make_series(edit=edit))
    assert words in caught.value.message


def test_file_without_preamble_is_read_with_a_note(make_series):
    folder = make_series()
    plain = read_series(folder).volume
    for path in folder.iterdir():
        raw = path.read_bytes()
        length = int.from_bytes(raw[140:144], "little")
        path.write_bytes(raw[144 + length :])
    read = read_series(folder)
    np.testing.assert_array_equal(read.volume.values, plain.values)
    assert codes(read) == {"encoding-assumed"}


def compress(ds: pydicom.FileDataset, syntax: str, frames: list[bytes]) -> None:
    ds.PixelData = pydicom.encaps.encapsulate(frames)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax


def test_unknown_compression_is_named_with_what_to_do(make_series):
    path = next(iter(make_series().iterdir()))
    ds = pydicom.dcmread(path)
    compress(ds, "1.2.840.10008.1.2.4.100", [b"\0" * 64])
    ds.save_as(path)
    with pytest.raises(InputError) as caught:
        read_series(path)
    assert "MPEG2 Main Profile" in caught.value.message
    assert "export the series uncompressed" in caught.value.hint


def test_missing_decoder_is_named_with_what_to_install(make_series, monkeypatch):
    from ctrestorelib.io.dicom import decoders

    path = next(iter(make_series().iterdir()))
    ds = pydicom.dcmread(path)
    frame = b"\xff\xd8\xff\xc3\x00\x0b\x10\x00\x0c\x00\x0a\x01\x01\x11\x00"
    compress(ds, "1.2.840.10008.1.2.4.70", [frame])
    ds.save_as(path)
    monkeypatch.setattr(decoders, "_has_decoder", lambda _dataset: False)
    with pytest.raises(InputError) as caught:
        read_series(path)
    assert "JPEG Lossless" in caught.value.message
    assert "pip install python-gdcm" in caught.value.hint


def test_lossless_compression_by_rle_round_trips(make_series):
    stored = np.random.default_rng(1).integers(-1000, 2000, (3, 16, 16)).astype(np.int16)
    folder = make_series(stored, rescale=(1, 0))
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        ds.save_as(path)
    np.testing.assert_array_equal(read_series(folder).volume.values, stored)


def test_cut_compressed_data_are_refused(make_series):
    path = next(iter(make_series().iterdir()))
    ds = pydicom.dcmread(path)
    ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    ds.save_as(path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"truncated in 1 of 1 files: .*compressed data that end"):
        read_series(path)
