"""The comparison page: what it holds, what it refuses, and that it needs nothing else."""

from __future__ import annotations

import json
import re
import sys
import zlib
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter

from ctrestorelib.apps.cli.compare import compare
from ctrestorelib.apps.report import (
    Picture,
    PictureSection,
    ReportEntry,
    TableSection,
    TextSection,
    write_compare_report,
)
from ctrestorelib.apps.report.charts import Curve, line_chart, ticks
from ctrestorelib.apps.report.embed import Embedded, Scale, choose_slices, chunks, pack, unpack
from ctrestorelib.core.errors import GeometryError, UnitError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry

sys.path.insert(0, str(Path(__file__).parent))
from quality_phantoms import ct_noise, leg, volume

TRUTH = leg((6, 144, 144))[0][:, 20:124, 12:132]
ORIGINAL = volume(TRUTH + ct_noise(TRUTH.shape, 0))
BLURRED = ORIGINAL.with_values(gaussian_filter(ORIGINAL.values, (0, 1, 1)))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    record = {
        "method": "nlm",
        "method_version": "2",
        "params": {"patch_size": 5},
        "warnings": [{"code": "x", "text": "Odd <noise>."}],
        "seconds": 3.0,
    }
    entries = [ReportEntry("Low & dose", ORIGINAL), ReportEntry("<b>Blur", BLURRED, record)]
    extra = [
        TextSection("Why", ["Because </script> happens."]),
        TableSection("Times", ["Method", "s"], [["Blur", "1"]], "Once."),
        PictureSection("Look", [Picture(np.zeros((4, 8), np.uint8), "black", "nothing")]),
    ]
    write_compare_report(entries, out, title="A & B", reference=volume(TRUTH), sections=extra)
    return out.read_text(encoding="utf-8")


def test_page_needs_no_other_file_and_no_network(page):
    addresses = re.findall(r"""(?:src|href)\s*=\s*['"]([^'"]*)""", page)
    assert addresses
    assert all(a.startswith(("data:", "#")) for a in addresses)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "default-src 'none'" in page


def test_page_says_what_matters(page):
    for text in ("Research use only", "not safe", "Hounsfield", "radiological", "All 6 axial"):
        assert text in page
    assert "Peak signal-to-noise" in page
    assert "nlm 2" in page
    assert "1 warning<" in page
    assert page.count("<img ") == page.count(" alt=")


def test_labels_and_texts_cannot_break_the_page(page):
    assert "<b>Blur" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "A &amp; B" in page
    assert "Odd &lt;noise&gt;." in page
    assert "{{" not in page


def test_embedded_values_are_the_volumes_to_one_hu(page):
    manifest = json.loads(re.search(r'id="manifest">(.*?)</script>', page, re.DOTALL).group(1))
    packed = re.search(r"id='data-1-full'>(.*?)</script>", page, re.DOTALL).group(1)
    assert manifest["full"]
    numbers = unpack(b64decode(packed), tuple(manifest["shape"]))
    values = manifest["low"] + manifest["step"] * numbers
    # The first displayed slice is the uppermost one.
    assert np.abs(values[::-1] - BLURRED.values).max() <= 0.5 + 1e-3
    assert manifest["volumes"][1]["boxes"]


def test_packing_is_lossless_at_the_ends_of_the_range():
    numbers = np.random.default_rng(0).integers(0, 65536, (3, 5, 7)).astype(np.uint16)
    numbers[0, 0, :2] = (65535, 0)
    assert np.array_equal(unpack(pack(numbers), numbers.shape), numbers)
    smooth = np.tile(np.arange(256, dtype=np.uint16), (8, 64, 1))
    assert len(pack(smooth)) < len(zlib.compress(smooth.tobytes()))


def test_too_much_data_becomes_evenly_spread_slices():
    arrays = [ct_noise((40, 64, 64), n) for n in range(2)]
    scale = Scale.of(arrays, Unit.HU)
    chosen = choose_slices(arrays, scale, 60_000)
    assert not chosen.full
    assert 1 < len(chosen.slices["axial"]) < 40
    held = sum(len(t) for a in arrays for t in chunks(a, scale, chosen).values())
    assert held * 3 / 4 < 75_000
    everything = choose_slices(arrays, scale, 10_000_000)
    assert everything == Embedded(
        True,
        {"axial": list(range(40)), "coronal": list(range(64)), "sagittal": list(range(64))},
    )


def test_volumes_that_cannot_be_compared_are_refused(tmp_path):
    out = tmp_path / "r.html"
    first = ReportEntry("A", ORIGINAL)
    moved = Volume(
        TRUTH, VolumeGeometry.from_spacing(TRUTH.shape, (0.8, 0.8, 1.0), origin_lps_mm=(0, 0, 0)),
        Unit.HU,
    )  # fmt: skip
    with pytest.raises(GeometryError, match=r"A and B lie on different grids: origin") as error:
        write_compare_report([first, ReportEntry("B", moved)], out)
    assert "Resample" in error.value.hint
    with pytest.raises(UnitError, match="grey"):
        write_compare_report([first, ReportEntry("B", volume(TRUTH, unit=Unit.GREY))], out)
    with pytest.raises(UsageError, match="own label"):
        write_compare_report([first, first], out)
    with pytest.raises(UsageError, match="original"):
        write_compare_report([first, ReportEntry("B", BLURRED, original="C")], out)
    with pytest.raises(UsageError, match="at least one"):
        write_compare_report([], out)
    assert not out.exists()


@pytest.mark.parametrize("shape", [(1, 30, 20), (2, 3, 4)])
def test_small_grey_volumes_make_a_page_too(tmp_path, shape):
    grey = volume(np.random.default_rng(0).uniform(0, 255, shape), unit=Unit.GREY)
    reports = write_compare_report(
        [ReportEntry("A", grey), ReportEntry("B", grey, original="")], tmp_path / "r.html"
    )
    assert reports[1].residual is None
    assert "without a physical scale" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_charts_have_round_ticks_and_a_label():
    assert ticks(0, 9.7) == [0, 2, 4, 6, 8, 10]
    assert ticks(-3, 3) == [-3, -2, -1, 0, 1, 2, 3]
    curve = Curve("a<b", 1, np.array([0.0, 1.0]), np.array([0.0, 5.0]))
    drawn = line_chart([curve], title="T", x_label="x", y_label="y")
    assert "aria-label='T'" in drawn
    assert "a&lt;b" in drawn
    assert "nan" not in drawn


def test_command_compares_files_and_reads_sidecars(tmp_path):
    np_names = []
    for name, values in (("before", ORIGINAL), ("after", BLURRED)):
        path = tmp_path / f"{name}.mha"
        from ctrestorelib.io.volumes import write_volume

        write_volume(values, path)
        np_names.append(str(path))
    (tmp_path / "after.json").write_text('{"not": "ours"}', encoding="utf-8")
    out = tmp_path / "page.html"
    result = CliRunner().invoke(
        compare, [*np_names, "--out", str(out), "--json"], catch_exceptions=False
    )
    answer = json.loads(result.stdout)
    assert [v["label"] for v in answer["volumes"]] == ["before", "after"]
    assert answer["volumes"][1]["verdict"] == "red"
    assert "No record of its making" in out.read_text(encoding="utf-8")
