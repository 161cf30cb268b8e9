"""Hostile and damaged files cost little memory, and no message tells who the patient is."""

from __future__ import annotations

import logging
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pydicom
import pytest

from ctrestorelib.core.errors import CTRestoreError, InputError, ResourceError
from ctrestorelib.io.dicom.codestream import picture_of
from ctrestorelib.io.dicom_series import list_series, read_series

SECRETS = ("Geheim", "Person", "4711", "19600101", "1960-01-01", "Muster")


def one(folder):
    return next(iter(sorted(folder.iterdir())))


@pytest.mark.filterwarnings("ignore:Invalid value")  # said while writing the spoilt files
def test_messages_notes_and_logs_tell_nothing_about_the_patient(make_series, caplog, capfd):
    def spoil(ds, k):
        ds.PatientBirthDate = "1960-01-01"  # an invalid date: pydicom would quote it in a warning
        ds.SeriesDescription = ds.ProtocolName = "Muster"
        ds.InstanceNumber = 9 - k
        if k == 2:
            ds.ImagePositionPatient = ["0", "0", "77"]

    bad = make_series(edit=spoil, folder="Geheim_Person")
    good = make_series(edit=lambda ds, k: spoil(ds, 0), folder="Muster")
    for k, path in enumerate(sorted(good.iterdir())):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path)
            ds.ImagePositionPatient = ["0", "0", str(k)]
            ds.save_as(path)
    caplog.clear()
    capfd.readouterr()
    told = []
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        for folder, wanted in ((bad, None), (good, "Person")):
            with pytest.raises(CTRestoreError) as error:
                read_series(folder, series=wanted)
            told += [str(error.value), repr(error.value.__cause__)]
            told += [str(info) + repr(info) for info in list_series(folder)]
        told += [str(note) for note in read_series(good).notes]
    told += [caplog.text, *capfd.readouterr(), *[str(w.message) for w in caught]]
    assert len(told) > 6
    for secret in SECRETS:
        assert not [t for t in told if secret in t]


def test_every_kind_of_damage_is_an_input_error_without_secrets(make_series):
    """Cut and scramble a file at many places: a clear error or a sound volume, nothing else."""
    path = one(make_series(np.zeros((1, 4, 4), np.uint16)))
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    told = []
    for trial in range(150):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: rng.integers(1, len(whole))]
        else:
            for _ in range(3):
                data[rng.integers(132, len(data))] = rng.integers(0, 256)
        path.write_bytes(bytes(data))
        try:
            assert np.isfinite(read_series(path).volume.values).all()
        except (InputError, ResourceError) as error:
            told.append(str(error))
    assert len(told) > 40
    assert not [t for t in told if any(s in t for s in SECRETS)]


def test_absurd_size_is_refused(make_series):
    def claim(ds, k):
        ds.Rows = ds.Columns = 12000

    with pytest.raises(InputError, match="12000 x 12000 pixels; between 1 and 8192"):
        read_series(make_series(edit=claim))


def test_size_larger_than_the_data_is_truncation(make_series):
    def claim(ds, k):
        ds.Rows = ds.Columns = 8000

    with pytest.raises(InputError, match="holds 240 of 128000000 bytes"):
        read_series(make_series(edit=claim))


def test_absurd_number_of_frames_is_refused(make_enhanced):
    path = make_enhanced(np.zeros((2, 4, 4), np.uint16), [(0, 0, 0), (0, 0, 1)], (0, 0), 2_000_000)
    with pytest.raises(InputError, match="claims 2000000 frames"):
        read_series(path)


def test_volume_larger_than_memory_is_refused_before_reading(make_series, monkeypatch):
    import psutil

    folder = make_series()
    monkeypatch.setattr(psutil, "virtual_memory", type("Free", (), {"available": 100}))
    with pytest.raises(ResourceError, match="of memory"):
        read_series(folder)


def test_element_of_four_gigabytes_allocates_nothing(make_series):
    path = one(make_series())
    raw = path.read_bytes()
    at = raw.index(b"\x18\x00\x50\x00")  # SliceThickness becomes a huge value of unknown kind
    path.write_bytes(raw[:at] + struct.pack("<HH2sHL", 0x18, 0x50, b"UN", 0, 0xFFFFFFF0) + b"1")
    tracemalloc.start()
    with pytest.raises(InputError):
        read_series(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def deflate_bomb(path, megabytes: int) -> None:
    """Write a small deflated DICOM file that inflates to ``megabytes``."""
    uid = b"1.2.840.10008.1.2.1.99"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(uid)) + uid
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = [engine.compress(struct.pack("<HH2sHL", 9, 0x10, b"OB", 0, megabytes << 20))]
    zeros = bytes(1 << 20)
    body += [engine.compress(zeros) for _ in range(megabytes)]
    path.write_bytes(bytes(128) + b"DICM" + meta + b"".join(body) + engine.flush())


def test_deflate_bomb_is_refused_within_a_memory_cap(tmp_path):
    path = tmp_path / "bomb.dcm"
    deflate_bomb(path, 400)
    assert path.stat().st_size < 1e6
    tracemalloc.start()
    with pytest.raises(InputError, match=r"unpacks from 0\.4 MB to more than 67 MB"):
        read_series(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_deeply_nested_sequences_are_refused(tmp_path):
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    sequence = struct.pack("<HH2sHL", 0x08, 0x1115, b"SQ", 0, 0xFFFFFFFF)
    uid = b"1.2.840.10008.1.2.1\0"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(uid)) + uid
    (tmp_path / "deep.dcm").write_bytes(bytes(128) + b"DICM" + meta + (sequence + item) * 5000)
    with pytest.raises(InputError, match="damaged"):
        read_series(tmp_path / "deep.dcm")


def test_damaged_file_beside_a_series_is_counted(make_series, tmp_path):
    folder = make_series()
    deflate_bomb(folder / "bomb.dcm", 100)
    (folder / "DICOMDIR").write_bytes(b"no DICOM at all")
    read = read_series(folder)
    assert read.volume.shape[0] == 6
    assert [n.code for n in read.notes] == ["damaged-files"]


def test_uids_that_are_paths_do_not_travel_on(make_series):
    def spoil(ds, k):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"../../etc/{k}"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = make_series(edit=spoil)
    assert read_series(folder).sop_instance_uids == ("",) * 6


def pack(folder, target, rename=lambda name: name, **options):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for path in folder.iterdir():
            archive.write(path, rename(path.name))
    return target


def test_archive_with_path_tricks_is_read_and_writes_nothing(make_series, tmp_path):
    folder = make_series()
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    archive = pack(folder, inside / "series.zip", lambda name: f"../../{name}")
    before = sorted(tmp_path.rglob("*"))
    read = read_series(archive)
    assert sorted(tmp_path.rglob("*")) == before
    np.testing.assert_array_equal(read.volume.values, read_series(folder).volume.values)


def test_archive_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(70 << 20))
    with pytest.raises(InputError, match="which no CT image does"):
        read_series(tmp_path / "bomb.zip")


def test_damaged_archive_is_refused(make_series, tmp_path):
    archive = pack(make_series(), tmp_path / "series.zip")
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(InputError):
        read_series(archive)


def test_damaged_member_is_told(make_series, tmp_path):
    archive = pack(make_series(), tmp_path / "series.zip")
    raw = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        first = opened.infolist()[0]
    at = first.header_offset + 30 + len(first.filename) + first.compress_size // 2
    raw[at] ^= 0xFF
    archive.write_bytes(raw)
    with pytest.raises(InputError, match=r"1 slice is missing.*1 damaged files were left out"):
        read_series(archive)


def siz(right, bottom, left=0, top=0, tile=(64, 64), components=1, bits=16, step=1) -> bytes:
    """Return the begin of a JPEG 2000 codestream."""
    head = struct.pack(">8L", right, bottom, left, top, *tile, 0, 0)
    rest = struct.pack(">HBBB", components, bits - 1, step, step)
    return b"\xff\x4f\xff\x51\x00\x29\x00\x00" + head + rest


@pytest.mark.parametrize(
    ("packed", "picture"),
    [
        (b"\xff\xd8\xff\xc3\x00\x0b\x10\xea\x60\xea\x60\x01", (60000, 60000, 1, 16, 1)),
        (
            b"\xff\xd8\xff\xe0\x00\x04ab\xff\xf7\x00\x0b\x0c\x00\x10\x00\x20\x03",
            (16, 32, 3, 12, 1),
        ),
        (siz(70, 50, 6, 2), (48, 64, 1, 16, 2)),
        (siz(64, 64, tile=(1, 1)), (64, 64, 1, 16, 4096)),
        (siz(64, 64, components=9, bits=8), (64, 64, 9, 8, 1)),
        (struct.pack(">L4sL", 12, b"jP  ", 0) + struct.pack(">L4s", 0, b"jp2c") + siz(9, 8),
         (8, 9, 1, 16, 1)),
        (struct.pack(">L4sL", 12, b"jP  ", 0) + struct.pack(">L4s", 0, b"junk") + siz(9, 8), None),
        (siz(64, 64, tile=(0, 64)), None),
        (siz(64, 64, step=2), None),
        (siz(64, 64)[:40], None),
        (b"\xff\xd8\xff", None),
        (b"", None),
        (b"RLE", None),
    ],
)  # fmt: skip
def test_codestream_states_its_picture(packed, picture):
    assert picture_of(packed) == picture


def test_codestream_of_another_size_is_not_decoded(make_series):
    path = one(make_series())
    ds = pydicom.dcmread(path)
    frame = b"\xff\xd8\xff\xc3\x00\x0b\x10\xea\x60\xea\x60\x01" + bytes(20)
    ds.PixelData = pydicom.encaps.encapsulate([frame])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
    ds.save_as(path)
    with pytest.raises(InputError, match="measure 60000 x 60000, but its header says 10 x 12"):
        read_series(path)
