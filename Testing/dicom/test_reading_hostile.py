"""Hostile files are refused in a sentence, within bounded time and memory.

Every file is read in a child process that may take 600 MB more than it has once all libraries are
loaded, and 30 seconds.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_seeds as make

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")

BOUND = 600 << 20
ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
ENDLESS_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)

CHILD = """
import json, resource, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import fuzz_reading, fuzz_seeds, tempfile
from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.io.dicom_series import read_series
from ctrestorelib.io.projections import read_projections
with tempfile.TemporaryDirectory() as folder:
    fuzz_reading.warm_up(list(fuzz_seeds.seeds()), Path(folder))
fuzz_reading.MEMORY_BYTES = int(sys.argv[2])
fuzz_reading.limit_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for line in sys.stdin:
    path = Path(json.loads(line))
    told, start = [], time.perf_counter()
    for read in (read_series, lambda p: read_projections(p, i0=6e4)):
        try:
            read(path)
            told.append("read")
        except CTRestoreError as error:
            told.append(f"{type(error).__name__}: {error}")
        except BaseException as error:
            told.append(f"TRACEBACK {type(error).__name__}: {error}")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([told, grown / 1024, time.perf_counter() - start]), flush=True)
"""


@pytest.fixture(scope="module")
def child():
    """Return a function that reads a file in one child process for all tests."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(BOUND)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    def read(path: Path):
        process.stdin.write(json.dumps(str(path)) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, f"the child died with code {process.wait()}"
        return json.loads(line)

    yield read
    process.kill()
    process.wait()


def element(group: int, number: int, vr: bytes, body: bytes, length: int | None = None) -> bytes:
    """Return an explicit element with a long or short length field."""
    size = len(body) if length is None else length
    if vr in (b"SQ", b"UN", b"OB", b"OW"):
        return struct.pack("<HH2sHL", group, number, vr, 0, size) + body
    return struct.pack("<HH2sH", group, number, vr, size) + body


def file_of(body: bytes, syntax: str = make.EXPLICIT) -> bytes:
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    return bytes(128) + b"DICM" + element(2, 0x10, b"UI", uid) + body


def with_before_pixels(extra: bytes) -> bytes:
    """Return a good slice with something inserted before its pixels."""
    data = make.packed(make.classic())
    at = data.rindex(struct.pack("<HH", 0x7FE0, 0x10))
    return data[:at] + extra + data[at:]


def sized(rows: int, columns: int, frames: int = 1, syntax: str = "", packed: bytes = b"") -> bytes:
    ds = make.classic()
    if syntax:
        make.set_frames(ds, syntax, [packed] * min(frames, 3000))
    ds.Rows, ds.Columns, ds.NumberOfFrames = rows, columns, frames
    return make.packed(ds)


def j2k_header(rows: int, columns: int, tile: int, components: int = 1) -> bytes:
    head = struct.pack(">8L", columns, rows, 0, 0, tile, tile, 0, 0)
    return b"\xff\x4f\xff\x51\x00\x29\x00\x00" + head + struct.pack(">HBBB", components, 15, 1, 1)


def jpeg_header(rows: int, columns: int, junk: int = 0, components: int = 1) -> bytes:
    filler = b"\xff\xe0" + struct.pack(">H", junk + 2) + bytes(junk)
    return (
        b"\xff\xd8"
        + filler
        + b"\xff\xc3\x00\x0b"
        + struct.pack(">BHHB", 16, rows, columns, components)
    )


def nested(depth: int) -> bytes:
    return (element(0x5200, 0x9230, b"SQ", b"", 0xFFFFFFFF) + ENDLESS_ITEM) * depth


def rle_bomb() -> bytes:
    """Return a frame of 8192 x 8192 zeros, 1 MB long."""
    run = bytes([129, 0]) * (8192 * 8192 // 128)
    return struct.pack("<16L", 2, 64, 64 + len(run), *[0] * 13) + run * 2


HOSTILE = {
    "deflated-giant": lambda: make.deflate_bomb(400),
    "rows-and-columns": lambda: sized(65535, 65535),
    "rows-beyond-data": lambda: sized(8192, 8192),
    "frames": lambda: sized(12, 10, 2_000_000_000),
    "frames-beyond-data": lambda: sized(8192, 8192, 60_000),
    "no-rows": lambda: sized(0, 10),
    "million-items": lambda: with_before_pixels(
        element(0x5200, 0x9230, b"SQ", ITEM * 500_000)),
    "million-endless-items": lambda: with_before_pixels(
        element(0x5200, 0x9230, b"SQ", ITEM * 500_000, 0xFFFFFFFF)),
    "million-items-elsewhere": lambda: with_before_pixels(
        element(0x6001, 0x1010, b"SQ", ITEM * 500_000, 0xFFFFFFFF)),
    "million-elements": lambda: with_before_pixels(
        element(0x6001, 0x1010, b"CS", b"") * 1_200_000),
    "deep": lambda: with_before_pixels(nested(20_000)),
    "million-fragments": lambda: _with_empty_fragments(600_000),
    "million-meta-elements": lambda: bytes(128) + b"DICM" + element(2, 2, b"UI", b"") * 500_000,
    "four-gigabyte-element": lambda: with_before_pixels(
        element(0x6001, 0x10, b"UN", b"1", 0xFFFFFFF0)),
    "rle-bomb": lambda: sized(8192, 8192, 300, make.RLE, rle_bomb()[:4000]),
    "rle-of-one": lambda: sized(8192, 8192, 1, make.RLE, b"\0" * 64),
    "jpeg-of-another-size": lambda: sized(12, 10, 1, make.JPEG_LOSSLESS,
                                          jpeg_header(65000, 65000)),
    "jpeg-hidden-size": lambda: sized(12, 10, 1, make.JPEG_LOSSLESS,
                                      b"\xff\xd8\0\0" + jpeg_header(65000, 65000)[2:]),
    "jpeg-colours": lambda: sized(12, 10, 1, make.JPEG_LOSSLESS,
                                  jpeg_header(12, 10, components=200)),
    "jpeg-2000-tiles": lambda: sized(8192, 8192, 1, make.JPEG_2000, j2k_header(8192, 8192, 1)),
    "jpeg-2000-components": lambda: sized(12, 10, 1, make.JPEG_2000,
                                          j2k_header(12, 10, 64, 16384)),
    "jpeg-2000-cut": lambda: sized(12, 10, 1, make.JPEG_2000, j2k_header(12, 10, 64)),
    "projection-giant": lambda: make.packed(
        _edited(make.projection(0, np.ones((4, 9)), phi=0.0), Rows=8192, Columns=8192)),
    "run-of-many-frames": lambda: make.packed(
        _edited(make.run(np.ones((3, 4, 4)), [0, 40, 80]), NumberOfFrames=60_000)),
}  # fmt: skip


def _with_empty_fragments(count: int) -> bytes:
    data = sized(12, 10, 1, make.RLE, b"ab")
    at = data.rindex(struct.pack("<HH", 0x7FE0, 0x10)) + 12
    return data[:at] + ITEM * count + data[at:]


def _edited(ds, **values):
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_within_its_bounds(child, tmp_path, name):
    path = tmp_path / "file.dcm"
    path.write_bytes(HOSTILE[name]())
    told, megabytes, seconds = child(path)
    assert not [t for t in told if "TRACEBACK" in t], told
    assert told[0].startswith(("InputError", "GeometryError", "ResourceError")), told
    assert told[1].startswith(("InputError", "GeometryError", "ResourceError")), told
    assert not [t for t in told if "Geheim" in t or "4711" in t]
    assert megabytes < BOUND / 1e6
    assert seconds < 30


def test_compressed_bomb_is_recognised_by_its_ratio(child, tmp_path):
    """One honest frame of zeros is read; a thousand of them are a bomb."""
    frame = bytes(make.rle_frame(np.zeros((64, 64), np.uint16)))
    (tmp_path / "a.dcm").write_bytes(sized(64, 64, 1, make.RLE, frame))
    told, _, _ = child(tmp_path / "a.dcm")
    assert told[0] == "read"
    tiny = struct.pack("<16L", 2, 64, 66, *[0] * 13) + bytes([129, 0]) * 2
    (tmp_path / "b.dcm").write_bytes(sized(2048, 2048, 3000, make.RLE, tiny))
    told, _, _ = child(tmp_path / "b.dcm")
    assert "unpack from 0.2 MB to 25166 MB" in told[0]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        ".",
        "..",
        "../../up",
        "/etc/cron.d/x",
        "C:\\x",
        "a" * 60_000,
        "\x00x",
        "con",
        "ä\u202e",
    ],
)
def test_names_in_archives_do_no_harm(child, tmp_path, name):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    files = {f"s/{n}": make.packed(make.classic(n)) for n in range(3)}
    path = inside / "a.zip"
    path.write_bytes(make.zipped({**files, name: b"nothing"}))
    before = sorted(tmp_path.rglob("*"))
    told, _, _ = child(path)
    assert told[0] == "read", told
    assert sorted(tmp_path.rglob("*")) == before


def zip_with(path: Path, patch) -> Path:
    """Write an archive and change its central directory."""
    data = bytearray(make.zipped({"a.dcm": make.packed(make.classic())}))
    at = data.index(b"PK\x01\x02")
    patch(data, at)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (lambda d, at: d.__setitem__(slice(at + 20, at + 24), b"\xf0\xff\xff\xff"), "larger than"),
        (lambda d, at: d.__setitem__(slice(at + 24, at + 28), b"\xf0\xff\xff\xff"), "unpacks from"),
        (lambda d, at: d.__setitem__(slice(at + 10, at + 12), b"\x0e\x00"), "rare way"),
        (lambda d, at: d.__setitem__(slice(at + 8, at + 10), b"\x01\x00"), "encrypted"),
        (lambda d, at: d.__setitem__(slice(at + 42, at + 46), b"\xff\xff\0\0"), ""),
        (lambda d, at: d.__setitem__(slice(at, at + 4), b"PKxx"), "damaged"),
    ],
)
def test_archives_that_lie_are_refused(child, tmp_path, patch, words):
    told, megabytes, _ = child(zip_with(tmp_path / "a.zip", patch))
    assert "TRACEBACK" not in str(told)
    assert "Error" in told[0]
    assert words in told[0]
    assert megabytes < BOUND / 1e6


def test_archive_whose_members_share_their_bytes_is_a_bomb(child, tmp_path):
    """Members that overlap unfold the same packed bytes again and again."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(8 << 20))
        first = archive.infolist()[0]
        for n in range(400):
            twin = zipfile.ZipInfo(f"b{n}")
            for name in ("file_size", "compress_size", "CRC", "header_offset", "compress_type"):
                setattr(twin, name, getattr(first, name))
            archive.filelist.append(twin)
    told, _, _ = child(path)
    assert "The zip archive unpacks from" in told[0]


def test_folder_with_odd_entries_is_read(child, tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.dcm").write_bytes(make.packed(make.classic(n)))
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "empty").write_bytes(b"")
    (folder / os.fsdecode(b"\xff\xfe name")).write_bytes(b"nothing")
    told, _, _ = child(folder)
    assert told[0] == "read", told
