"""Zip archives: good ones come out whole, bad ones are refused and leave nothing."""

from __future__ import annotations

import os
import stat
import struct
import zipfile

import numpy as np
import pytest

from ctrestorelib.apps.web.gateway import archives
from ctrestorelib.apps.web.gateway.archives import TooLarge, check_archive, unpack
from ctrestorelib.core.errors import InputError

ROOM = 1 << 30


def make_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    """Write a zip archive of pairs of name (or ZipInfo) and content."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def refused(path, target, match, *, max_bytes=ROOM, error=InputError):
    with pytest.raises(error, match=match) as caught:
        unpack(path, target, max_bytes=max_bytes)
    assert caught.value.hint
    assert not target.exists()


def test_a_dicom_zip_comes_out_whole_without_clutter(tmp_path):
    rng = np.random.default_rng(3)
    slices = {f"CT/IM{n:03}.dcm": rng.bytes(5000) for n in range(20)}
    clutter = [("__MACOSX/CT/._IM000.dcm", b"x"), ("CT/.DS_Store", b"x"), ("CT/", b"")]
    path = make_zip(tmp_path / "a.zip", [*slices.items(), *clutter])
    done = unpack(path, tmp_path / "out", max_bytes=ROOM)
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes()
             for p in (tmp_path / "out").rglob("*") if p.is_file()}  # fmt: skip
    assert found == slices
    assert (done.files, done.bytes) == (20, 100_000)


def test_an_empty_scan_compresses_a_thousandfold_and_is_welcome(tmp_path):
    air = np.full((64, 256, 256), -1000, np.int16).tobytes()  # 8 MB, below the floor
    path = make_zip(tmp_path / "a.zip", [("air.nii", air)])
    assert path.stat().st_size < len(air) / 250
    assert unpack(path, tmp_path / "out", max_bytes=ROOM).bytes == len(air)


def test_a_bomb_is_refused_by_its_table(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("bomb.dcm", bytes(80 << 20))])
    refused(path, tmp_path / "out", "which no CT image does")


def test_a_bomb_hidden_beside_real_data_is_refused_too(tmp_path):
    members = [("noise.dcm", os.urandom(1 << 20)), ("bomb.dcm", bytes(80 << 20))]
    path = make_zip(tmp_path / "a.zip", members)
    assert path.stat().st_size > (81 << 20) / archives.MAX_RATIO  # as a whole it looks harmless
    refused(path, tmp_path / "out", "which no CT image does")


def test_a_bomb_of_many_small_files_is_refused_too(tmp_path):
    path = make_zip(tmp_path / "a.zip", [(f"{n}.dcm", bytes(10 << 20)) for n in range(8)])
    refused(path, tmp_path / "out", "which no CT image does")


def test_members_that_share_their_bytes_are_refused(tmp_path):
    # One packed block named by many entries: small file, small ratio per entry, huge sum.
    path = make_zip(tmp_path / "a.zip", [("a.dcm", os.urandom(400_000))], zipfile.ZIP_STORED)
    with zipfile.ZipFile(path, "a") as archive:
        first = archive.infolist()[0]
        for n in range(300):
            twin = zipfile.ZipInfo(f"{n}.dcm")
            for field in ("CRC", "compress_size", "file_size", "header_offset", "compress_type"):
                setattr(twin, field, getattr(first, field))
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True
    refused(path, tmp_path / "out", "which no CT image does")


def test_a_table_that_lies_about_sizes_does_not_help(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("a.dcm", bytes(30 << 20))])
    data = bytearray(path.read_bytes())
    small = struct.pack("<L", 1000)
    for signature, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        start = data.index(signature)
        data[start + at : start + at + 4] = small
    path.write_bytes(bytes(data))
    refused(path, tmp_path / "out", "cannot be unpacked", max_bytes=5000)


def test_what_is_left_counts_and_not_more(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("a.dcm", os.urandom(3000)), ("b.dcm", os.urandom(3000))])
    refused(path, tmp_path / "out", "unpacks to more", max_bytes=5999, error=TooLarge)
    assert unpack(path, tmp_path / "out", max_bytes=6000).bytes == 6000


def test_bytes_are_counted_while_they_come_out(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip", [("a.dcm", os.urandom(3000)), ("b.dcm", os.urandom(3000))])
    monkeypatch.setattr(archives, "_check_total", lambda *_args, **_kwargs: None)
    refused(path, tmp_path / "out", "unpacks to more", max_bytes=4000, error=TooLarge)


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 5)
    path = make_zip(tmp_path / "a.zip", [(f"{n}.dcm", b"1") for n in range(6)])
    refused(path, tmp_path / "out", "more than 5 files")


@pytest.mark.parametrize("name", ["../evil.dcm", "a/../../evil.dcm", "/etc/evil.dcm", "C:/evil.dcm",
                                  "..\\evil.dcm", "\\evil.dcm"])  # fmt: skip
def test_names_that_lead_out_are_refused(tmp_path, name):
    path = make_zip(tmp_path / "a.zip", [("good.dcm", b"1"), (name, b"evil")])
    refused(path, tmp_path / "out", "outside the upload")
    assert not list(tmp_path.parent.glob("evil*"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path, kind):
    link = zipfile.ZipInfo("link.dcm")
    link.external_attr = (kind | 0o777) << 16
    path = make_zip(tmp_path / "a.zip", [(link, b"/etc/passwd")])
    refused(path, tmp_path / "out", "a link or a device")


def test_archives_inside_archives_are_refused_by_name_and_by_content(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", [("a.dcm", b"1")]).read_bytes()
    for name in ("inner.zip", "inner.ZIP", "innocent.dcm"):
        path = make_zip(tmp_path / "a.zip", [(name, inner)])
        refused(path, tmp_path / "out", "another archive")


def test_encrypted_archives_are_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("a.dcm", b"1")])
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    refused(path, tmp_path / "out", "encrypted")


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\x03\x04 nonsense")
    refused(path, tmp_path / "out", "table of contents")
    good = make_zip(tmp_path / "b.zip", [("a.dcm", os.urandom(9000))], zipfile.ZIP_STORED)
    data = bytearray(good.read_bytes())
    data[4000] ^= 255
    good.write_bytes(bytes(data))
    refused(good, tmp_path / "out", "cannot be unpacked")


def test_stopping_leaves_nothing(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("a.dcm", os.urandom(9000))])
    with pytest.raises(InputError, match="stopped"):
        unpack(path, tmp_path / "out", max_bytes=ROOM, stopped=lambda: True)
    assert not (tmp_path / "out").exists()


def test_looking_alone_unpacks_nothing(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("a.dcm", b"1"), ("b/c.dcm", b"2")])
    assert [m.filename for m in check_archive(path, max_bytes=ROOM)] == ["a.dcm", "b/c.dcm"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
