"""Every transfer syntax is read or refused by name; decoders that crash do so elsewhere."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_seeds as make

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom import decoder_child, decoders
from ctrestorelib.io.dicom_series import read_series

RAMP = np.add.outer(np.arange(32), 3 * np.arange(24))
READ = {make.IMPLICIT, make.EXPLICIT, make.BIG, make.DEFLATED}
TRANSFER_SYNTAXES = [
    uid for uid, entry in pydicom.uid.UID_dictionary.items()
    if entry[1] == "Transfer Syntax" and uid not in READ and not entry[3]
]  # fmt: skip


def write(tmp_path, data: bytes) -> Path:
    path = tmp_path / "file.dcm"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "syntax",
    [make.RLE, make.JPEG_LS, make.JPEG_2000, make.JPEG_LOSSLESS, make.PLAIN_FRAMES],
)
def test_lossless_syntaxes_keep_every_value(tmp_path, syntax):
    read = read_series(write(tmp_path, make.packed(make.compressed(syntax))))
    np.testing.assert_array_equal(read.volume.values[0], RAMP - 1024)


def test_lossy_jpeg_comes_close_and_is_noted(tmp_path):
    read = read_series(write(tmp_path, make.packed(make.compressed(make.JPEG_8))))
    assert np.abs(read.volume.values[0] + 1024 - RAMP).max() < 4
    assert "lossy-compression" in {n.code for n in read.notes}


@pytest.mark.parametrize("bits", [12, 16])
def test_signed_lossless_jpeg_keeps_its_sign(tmp_path, bits):
    import imagecodecs

    values = (RAMP - 50).astype(np.int16)
    coded = (values.view(np.uint16) & ((1 << bits) - 1)).astype(np.uint16)
    ds = make.classic(0, values)
    ds.BitsStored, ds.HighBit = bits, bits - 1
    frame = imagecodecs.ljpeg_encode(coded, bitspersample=16)
    make.set_frames(ds, make.JPEG_LOSSLESS, [bytes(frame)])
    read = read_series(write(tmp_path, make.packed(ds)))
    np.testing.assert_array_equal(read.volume.values[0], values.astype(float) - 1024)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_every_other_syntax_is_refused_by_name_or_for_its_pixels(tmp_path, syntax):
    """A frame of noise is no picture in any syntax: the sentence says what was expected."""
    ds = make.classic()
    make.set_frames(ds, syntax, [b"\x11\x22" * 40])
    with pytest.raises(InputError) as caught:
        read_series(write(tmp_path, make.packed(ds)))
    said = caught.value.message
    if syntax == make.PLAIN_FRAMES:  # too short a frame
        said = said.replace("cannot be read", pydicom.uid.UID(syntax).name)
    assert "do not begin as their encoding demands" in said or pydicom.uid.UID(syntax).name in said
    assert caught.value.hint


@pytest.mark.parametrize("name", ["1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107"])
def test_video_is_named(tmp_path, name):
    ds = make.classic()
    make.set_frames(ds, name, [bytes(80)])
    with pytest.raises(InputError, match=r"MPEG-4|HEVC"):
        read_series(write(tmp_path, make.packed(ds)))


def test_syntax_that_is_no_uid_is_not_repeated(tmp_path):
    data = make.packed(make.classic())
    data = data.replace(make.EXPLICIT.encode() + b"\0", b"Geheim Person 4711xx")
    assert b"Geheim Person 4711xx" in data
    with pytest.raises(InputError) as caught:
        read_series(write(tmp_path, data))
    assert "Geheim" not in str(caught.value)


def test_gdcm_reads_in_a_process_of_its_own(tmp_path, monkeypatch):
    """Without decoders in this process the child gives the same values."""
    monkeypatch.setattr(decoders, "_by_imagecodecs", lambda *_: None)
    monkeypatch.setattr(decoders, "_by_pydicom", lambda *_: None)
    for syntax in (make.JPEG_LOSSLESS, make.JPEG_LS, make.JPEG_2000):
        read = read_series(write(tmp_path, make.packed(make.compressed(syntax))))
        np.testing.assert_array_equal(read.volume.values[0], RAMP - 1024)
    import imagecodecs

    ds = make.classic(0, RAMP.astype(np.uint16))
    whole = imagecodecs.jpegls_encode(RAMP.astype(np.uint16))
    make.set_frames(
        ds, make.JPEG_LS, [bytes(whole[: whole.index(b"\xff\xf7") + 13])]
    )  # a header without data
    with pytest.raises(InputError, match="cannot be decoded"):
        read_series(write(tmp_path, make.packed(ds)))


def test_child_that_dies_or_hangs_is_replaced_and_given_up(monkeypatch, tmp_path):
    child = decoder_child.DecoderChild()
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nread line\nkill -6 $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(decoder_child, "module_command", lambda module: [str(script), "-m", module])
    for _ in range(5):
        assert child.decode(b"x", (1, 1)) is None
    assert child._starts == 3
    folder = child._folder.name
    child.close()
    assert not Path(folder).exists()
    monkeypatch.setattr(decoder_child, "TIMEOUT_S", 0.3)
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeping = decoder_child.DecoderChild()
    assert sleeping.decode(b"x", (1, 1)) is None
    sleeping.close()


def test_child_gets_no_patient(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(decoders, "_by_imagecodecs", lambda *_: None)
    monkeypatch.setattr(
        decoder_child.DecoderChild, "decode", lambda _self, bare, _shape: seen.append(bare)
    )
    with pytest.raises(InputError):
        read_series(write(tmp_path, make.packed(make.compressed(make.JPEG_LOSSLESS))))
    assert len(seen) == 1
    assert b"Geheim" not in seen[0]
    assert b"4711" not in seen[0]


@pytest.mark.data
def test_syntaxes_of_the_published_files_agree(data_file, tmp_path):
    """One slice in every lossless syntax: the same values, whoever decodes them."""
    with zipfile.ZipFile(data_file("dicom_ct_transfer_syntaxes.zip")) as archive:
        names = [n for n in archive.namelist() if "_1.2.840" in n]
        plain = next(n for n in names if "LittleEndianExplicit" in n)
        first = read_series(write(tmp_path, archive.read(plain))).volume.values
        lossy = ("Process1T", "Process2_4", "Process6_8", "Process10_12", "LSLossy", "2000Transfer")
        for name in names:
            read = read_series(write(tmp_path, archive.read(name))).volume.values
            if not any(word in name for word in lossy):
                np.testing.assert_array_equal(read, first, err_msg=name)
