"""Spoil DICOM files and read them: nothing but a sound result or a sentence may come out.

Run ``python Testing/dicom/fuzz_reading.py --files 20000``. Each file is read as a volume and as
projections, in a child process with a limit on its memory. Counted as failures: an exception other
than CTRestore's own, values that are not numbers, a name of the patient in what is told, a dead
child, a file that takes longer than the time limit, and memory above the limit. Cases are
numbered; ``--only N`` reads one of them again and ``--keep DIR`` stores those that failed.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import resource
import selectors
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_seeds

MEMORY_BYTES = 1 << 30
SECONDS = 20.0
SECRETS = ("Geheim", "Person", "4711", "19600101")

_TAGS = [struct.pack("<HH", *tag) for tag in (
    (0x28, 0x10), (0x28, 0x11), (0x28, 0x08), (0x28, 0x02), (0x28, 0x100), (0x28, 0x101),
    (0x28, 0x102), (0x28, 0x103), (0x28, 0x120), (0x28, 0x30), (0x28, 0x1052), (0x28, 0x1053),
    (0x20, 0x32), (0x20, 0x37), (0x20, 0x13), (0x02, 0x10), (0x08, 0x60), (0x7FE0, 0x10),
    (0x5200, 0x9229), (0x5200, 0x9230), (0xFFFE, 0xE000), (0xFFFE, 0xE0DD), (0x18, 0x1510),
    (0x18, 0x1520), (0x18, 0x1110), (0x7029, 0x1010), (0x7031, 0x1001), (0x7031, 0x1033),
)]  # fmt: skip
_EXTREMES = (b"\0\0\0\0", b"\xff" * 4, b"\xff\xff\xff\x7f", b"\xfe\xff\xff\xff", b"\1\0\0\0",
             b"\0\0\1\0", b"\xff\xff", b"\0\x80", b"SQ", b"UN", b"OW", b"9e99", b"-1\\0",
             b"inf ", b"nan ")  # fmt: skip
_SYNTAXES = (fuzz_seeds.IMPLICIT, fuzz_seeds.EXPLICIT, fuzz_seeds.BIG, fuzz_seeds.DEFLATED,
             fuzz_seeds.RLE, fuzz_seeds.JPEG_LS, fuzz_seeds.JPEG_2000, fuzz_seeds.JPEG_8,
             fuzz_seeds.JPEG_LOSSLESS, "1.2.840.10008.1.2.4.201", "9.9")  # fmt: skip


def mutated(case: int, seeds: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Return the name of the seed of a case and the spoilt file; the same each time."""
    rng = np.random.default_rng([2024, case])
    name, data = seeds[case % len(seeds)]
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        out = _MUTATIONS[int(rng.integers(len(_MUTATIONS)))](out, rng, seeds)
    return name, bytes(out)


def _flip(data: bytearray, rng: np.random.Generator, _seeds) -> bytearray:
    for at in rng.integers(0, max(1, len(data)), rng.integers(1, 9)):
        if at < len(data):
            data[at] = rng.integers(256)
    return data


def _cut(data: bytearray, rng: np.random.Generator, _seeds) -> bytearray:
    return data[: rng.integers(1, max(2, len(data)))]


def _remove(data: bytearray, rng: np.random.Generator, _seeds) -> bytearray:
    at = int(rng.integers(0, max(1, len(data))))
    del data[at : at + int(rng.integers(1, 40))]
    return data


def _repeat(data: bytearray, rng: np.random.Generator, _seeds) -> bytearray:
    at, size = int(rng.integers(0, max(1, len(data)))), int(rng.integers(1, 200))
    times = int(rng.choice((1, 2, 50, 2000)))
    return data[:at] + data[at : at + size] * times + data[at:]


def _extreme(data: bytearray, rng: np.random.Generator, _seeds) -> bytearray:
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))]
    at = int(rng.integers(0, max(1, len(data))))
    data[at : at + len(value)] = value
    return data


def _value_of_tag(data: bytearray, rng: np.random.Generator, _seeds) -> bytearray:
    """Put an extreme into the length or the value of an element that matters."""
    at = data.find(_TAGS[int(rng.integers(len(_TAGS)))])
    if at < 0:
        return _extreme(data, rng, _seeds)
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))]
    start = at + int(rng.choice((4, 6, 8, 8, 8, 10, 12)))
    data[start : start + len(value)] = value
    return data


def _syntax(data: bytearray, rng: np.random.Generator, _seeds) -> bytearray:
    """Claim another transfer syntax."""
    at = data.find(b"\x02\x00\x10\x00UI")
    if at < 0:
        return _flip(data, rng, _seeds)
    old = int.from_bytes(data[at + 6 : at + 8], "little")
    new = _SYNTAXES[int(rng.integers(len(_SYNTAXES)))].encode()
    new += b"\0" * (len(new) % 2)
    data[at + 6 : at + 8 + old] = struct.pack("<H", len(new)) + new
    return data


def _splice(data: bytearray, rng: np.random.Generator, seeds) -> bytearray:
    other = seeds[int(rng.integers(len(seeds)))][1]
    at, start = int(rng.integers(0, len(data) + 1)), int(rng.integers(0, len(other)))
    return data[:at] + other[start : start + int(rng.integers(1, 400))] + data[at:]


def _nest(data: bytearray, rng: np.random.Generator, _seeds) -> bytearray:
    """Insert sequences inside sequences, or countless empty items."""
    at = int(rng.integers(132, max(133, len(data))))
    item = struct.pack("<HHL", 0xFFFE, 0xE000, int(rng.choice((0, 0xFFFFFFFF))))
    begin = struct.pack("<HH2sHL", 0x5200, 0x9230, b"SQ", 0, 0xFFFFFFFF)
    part = begin + item if rng.integers(2) else item
    return data[:at] + begin + part * int(rng.choice((3, 200, 5000))) + data[at:]


_MUTATIONS = (_flip, _flip, _cut, _remove, _repeat, _extreme, _value_of_tag, _value_of_tag,
              _value_of_tag, _syntax, _splice, _nest)  # fmt: skip


def read_case(name: str, data: bytes, folder: Path) -> str:
    """Read one file both ways; return what came out, raise if it is a failure."""
    from ctrestorelib.core.errors import CTRestoreError
    from ctrestorelib.io.dicom_series import list_series, read_series
    from ctrestorelib.io.projections import read_projections

    for old in folder.iterdir():
        old.unlink()
    path = folder / ("file.zip" if name == "zip" else "file.dcm")
    path.write_bytes(data)
    outcome: list[str] = []
    told: list[str] = []
    if name.startswith("projection"):  # a scan has more than one view
        readings = np.random.default_rng(3).random((4, 12))
        for n in (1, 2):
            view = fuzz_seeds.projection(n, readings, phi=0.1 + n)
            (folder / f"view{n}.dcm").write_bytes(fuzz_seeds.packed(view))
    scan = folder if name.startswith("projection") else path
    for read in (
        lambda: list_series(path),
        lambda: read_series(path, series="1", resample_tilt=True),
        lambda: read_projections(scan, i0=6e4),
    ):
        try:
            result = read()
        except CTRestoreError as error:
            told += [str(error), repr(error.__cause__)]
            outcome.append("refused")
            continue
        outcome.append("read")
        if isinstance(result, list):
            told += map(str, result)
        else:
            told += map(str, result.notes)
            stored = getattr(result, "volume", None) or result.projections
            assert np.isfinite(stored.values).all(), "values that are not numbers"
    assert not [t for t in told if any(s in t for s in SECRETS)], "the patient's name was told"
    return "/".join(outcome[1:])


def limit_memory() -> None:
    """Allow this process so much more address space than it has now."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, now + MEMORY_BYTES))


def warm_up(seeds: list[tuple[str, bytes]], folder: Path) -> None:
    """Load every library that reading may need, so that it does not count."""
    import SimpleITK

    SimpleITK.GetArrayFromImage(SimpleITK.Image(2, 2, SimpleITK.sitkInt16))
    for name, data in seeds:
        read_case(name, data, folder)


def chosen_seeds(prefixes: str) -> list[tuple[str, bytes]]:
    """Return the seeds whose names begin with one of the words, divided by commas."""
    return [s for s in fuzz_seeds.seeds() if s[0].startswith(tuple(prefixes.split(",")))]


def work(first: int, last: int, prefixes: str) -> None:
    """Read cases in this process and print a line of JSON for each."""
    seeds = chosen_seeds(prefixes)
    with tempfile.TemporaryDirectory() as folder:
        warm_up(seeds, Path(folder))
        limit_memory()
        for case in range(first, last):
            name, data = mutated(case, seeds)
            print(json.dumps({"begin": case}), flush=True)
            start = time.perf_counter()
            try:
                outcome, failure = read_case(name, data, Path(folder)), ""
            except Exception:  # noqa: BLE001 - whatever it is, it is a finding
                outcome, failure = "failed", traceback.format_exc(limit=-6)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            seconds = time.perf_counter() - start
            line = {"case": case, "seed": name, "outcome": outcome, "failure": failure,
                    "seconds": seconds, "peak": peak}  # fmt: skip
            print(json.dumps(line), flush=True)


class Report:
    """What came out so far."""

    def __init__(self) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.failures: list[tuple[int, str]] = []
        self.slowest = (0.0, -1)
        self.peaks: list[int] = []

    def add(self, line: dict) -> None:
        """Count one case."""
        self.outcomes[line["outcome"]] += 1
        self.slowest = max(self.slowest, (line["seconds"], line["case"]))
        self.peaks.append(line["peak"])
        if line["failure"]:
            self.failures.append((line["case"], line["failure"]))

    def __str__(self) -> str:
        total = sum(self.outcomes.values())
        peaks = [p for p in self.peaks if p] or [0]
        growth = (max(peaks) - min(peaks)) / 1e6
        lines = [f"{total} files; volume/projections: {dict(self.outcomes.most_common())}"]
        lines += [f"slowest {self.slowest[0]:.2f} s (case {self.slowest[1]})"]
        lines += [f"memory grew by {growth:.0f} MB at most; {len(self.failures)} failures"]
        lines += [f"--- case {case}\n{text}" for case, text in self.failures[:20]]
        return "\n".join(lines)


def fuzz(files: int, *, first: int = 0, seconds: float = SECONDS, prefixes: str = "") -> Report:
    """Read ``files`` cases in child processes and report; a dead or silent child is a failure."""
    report, at, last = Report(), first, first + files
    while at < last:
        child = subprocess.Popen(
            [sys.executable, __file__, "--worker", str(at), str(last), "--seeds", prefixes],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        at = _follow(child, report, at, seconds)
    return report


def _follow(child: subprocess.Popen, report: Report, at: int, seconds: float) -> int:
    """Take a child's lines until it ends; return the case to go on with."""
    assert child.stdout is not None
    chooser = selectors.DefaultSelector()
    chooser.register(child.stdout, selectors.EVENT_READ)
    buffer, begun = b"", False
    while True:
        if not chooser.select(timeout=seconds if begun else 120):
            child.kill()
            child.wait()
            report.add(_lost(at, f"no answer within {seconds:g} s"))
            return at + 1
        part = os.read(child.stdout.fileno(), 1 << 16)
        if not part:
            break
        *lines, buffer = (buffer + part).split(b"\n")
        for line in map(json.loads, lines):
            begun = True
            if "begin" in line:
                at = line["begin"]
            else:
                report.add(line)
                at += 1
    if child.wait() != 0:
        report.add(_lost(at, f"the child died with code {child.returncode}"))
        return at + 1
    return at


def _lost(case: int, why: str) -> dict:
    return {"case": case, "outcome": "lost", "failure": why, "seconds": 0.0, "peak": 0}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--seeds", default="", help="begin of their names, divided by commas")
    parser.add_argument("--worker", type=int, nargs=2)
    wanted = parser.parse_args()
    if wanted.worker:
        work(*wanted.worker, wanted.seeds)
    elif wanted.only is not None:
        name, data = mutated(wanted.only, chosen_seeds(wanted.seeds))
        with tempfile.TemporaryDirectory() as folder:
            print(name, len(data), read_case(name, data, Path(folder)))
    else:
        start = time.time()
        report = fuzz(wanted.files, first=wanted.first, prefixes=wanted.seeds)
        print(report)
        print(f"{time.time() - start:.0f} s")
        if wanted.keep and report.failures:
            wanted.keep.mkdir(parents=True, exist_ok=True)
            seeds = chosen_seeds(wanted.seeds)
            for case, _ in report.failures:
                (wanted.keep / f"{case}.dcm").write_bytes(mutated(case, seeds)[1])
        sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
