"""Shared fixtures: real scans where they are, small phantoms everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CTRESTORE_DATA", REPOSITORY.parent / "shared" / "data"))


LONG_FILES = (
    "web/test_app_story.py",
    "contract/test_replay.py",
    "web/test_app_page_panels.py",
    "contract/test_without_torch.py",
    "contract/test_restorers.py",
    "web/test_app_checks.py",
    "contract/test_bundled_packages.py",
    "dicom/test_pacs_orthanc.py",
    "dicom/test_pacs_faults.py",
    "unit/test_cli_story.py",
)
"""Each takes half a minute or more: started last, one would run while the other core waits.

A run of many files ends with the list of those that took longest.
"""
NO_VIEWS, BENCH, MANY_VIEWS, NO_SCENE = range(4)
"""What a file opens in Slicer's scene, or that it needs none; files come in this order."""


def pytest_collection_modifyitems(items):
    """Put the files in the order in which workers take them, whole.

    Views once open stay open and follow the one scene of their process. To empty it between two
    tests takes half a millisecond without views, 0.02 s with the bench's four, 0.3 s with those of
    all comparisons and more with every further one. So who opens none comes first, who opens most
    last; then all that need no scene, and of these the long ones first.
    """
    opens: dict[Path, set[int]] = {}
    for item in items:
        opens.setdefault(item.path, set()).add(_opens(item))

    def place(item) -> tuple[int, int]:
        name = item.path.relative_to(REPOSITORY / "Testing").as_posix()
        length = LONG_FILES.index(name) if name in LONG_FILES else len(LONG_FILES)
        return max(opens[item.path] - {NO_SCENE}, default=NO_SCENE), length

    items.sort(key=place)


def _opens(item) -> int:
    if hasattr(item.module, "view_host") or item.path.name == "test_bench_layouts.py":
        return MANY_VIEWS
    if "slicer_bench" in item.fixturenames:
        return BENCH
    return NO_VIEWS if "slicer_app" in item.fixturenames else NO_SCENE


def pytest_terminal_summary(terminalreporter):
    """Say which files took longest, so that LONG_FILES stays true and slow tests are seen."""
    seconds: Counter[str] = Counter()
    for report in (r for group in terminalreporter.stats.values() for r in group):
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid.partition("::")[0]] += report.duration
    if len(seconds) >= 20:
        terminalreporter.section(f"{sum(seconds.values()):.0f} s in {len(seconds)} files; longest")
        for name, took in seconds.most_common(20):
            terminalreporter.write_line(f"{took:7.1f} s  {name}")


@pytest.fixture(scope="session")
def data_file():
    """Return a function from file name to path; it skips the test where the file is absent."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"{name} is not in CTRESTORE_DATA; see Docs for the test data")
        return path

    return find


@pytest.fixture
def small_ct() -> Volume:
    """Return a 24x32x40 HU volume: a water cylinder with a bone rod, air around, 20 HU noise."""
    _k, j, i = np.mgrid[:24, :32, :40].astype(np.float32)
    radius = np.hypot((j - 15.5) / 13, (i - 19.5) / 17)
    values = np.where(radius < 1, 40.0, -1000.0)
    values[np.hypot(j - 15.5, i - 24.5) < 4] = 900.0
    values += np.random.default_rng(7).normal(0, 20, values.shape)
    geometry = VolumeGeometry.from_spacing((24, 32, 40), (0.8, 0.8, 1.5))
    return Volume(values, geometry, Unit.HU)


@pytest.fixture(scope="session")
def ctrestore():
    """Return a function that runs the command line and may check its exit code."""

    def run(*args, check: int | None = None, **options) -> subprocess.CompletedProcess[str]:
        command = "from ctrestorelib.apps.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", command, *map(str, args)],
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        return done

    return run
