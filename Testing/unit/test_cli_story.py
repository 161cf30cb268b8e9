"""The command line used as a person would: denoise, simulate, reconstruct, measure, replay."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume, write_volume


def oblique(volume: Volume) -> Volume:
    """The same values on a turned, left-handed grid."""
    c, s = np.cos(0.3), np.sin(0.3)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, -1]]) @ np.diag([0.8, 0.8, 1.5])
    matrix[:3, 3] = 5, -7, 11
    return Volume(volume.values, VolumeGeometry(volume.shape, matrix), volume.unit)


@pytest.fixture
def scan_file(small_ct, tmp_path):
    path = tmp_path / "scan.nrrd"
    write_volume(oblique(small_ct), path)
    return path


def test_denoise_keeps_the_grid_and_leaves_a_record_that_replays(ctrestore, scan_file, tmp_path):
    out = tmp_path / "quiet.nrrd"
    before = scan_file.read_bytes()
    record = json.loads(
        ctrestore(
            "denoise", scan_file, out, "--method", "bilateral", "--strength", 0.8, "--json", check=0
        ).stdout
    )
    source, result = read_volume(scan_file).volume, read_volume(out).volume
    assert result.geometry.matches(source.geometry, tolerance_mm=1e-4)
    assert result.values[:, 15, 10].std() < source.values[:, 15, 10].std()
    assert scan_file.read_bytes() == before
    sidecar = Provenance.read(tmp_path / "quiet.json")
    assert sidecar.strength == 0.8
    assert record["provenance"]["output_sha256"] == sidecar.output_sha256
    assert str(tmp_path) not in (tmp_path / "quiet.json").read_text()
    again = json.loads(ctrestore("replay", tmp_path / "quiet.json", "--json", check=0).stdout)
    assert again["identical"] is True


def test_strength_zero_writes_the_original_values(ctrestore, scan_file, tmp_path):
    out = tmp_path / "same.nrrd"
    ctrestore("denoise", scan_file, out, "--method", "wavelet", "--strength", 0, check=0)
    np.testing.assert_array_equal(
        read_volume(out).volume.values, read_volume(scan_file).volume.values
    )


def test_roi_and_mask_restrict_the_change(ctrestore, scan_file, small_ct, tmp_path):
    mask = np.zeros(small_ct.shape, dtype=np.float32)
    mask[:, :, 20:] = 1
    write_volume(
        Volume(mask, read_volume(scan_file).volume.geometry, Unit.GREY), tmp_path / "mask.nrrd"
    )
    ctrestore(
        "denoise", scan_file, tmp_path / "part.nrrd", "--method", "bilateral", "--roi",
        "10:30,5:25,2:20", "--mask", tmp_path / "mask.nrrd", check=0,
    )  # fmt: skip
    changed = read_volume(tmp_path / "part.nrrd").volume.values != small_ct.values
    assert changed[2:20, 5:25, 20:30].mean() > 0.9
    changed[2:20, 5:25, 20:30] = False
    assert not changed.any()


def test_originals_and_results_are_never_overwritten_unasked(ctrestore, scan_file, tmp_path):
    done = ctrestore("denoise", scan_file, scan_file, "--overwrite", check=2)
    assert "originals are never overwritten" in done.stderr
    (tmp_path / "old.nii").write_text("old")
    done = ctrestore("denoise", scan_file, tmp_path / "old.nii", check=2)
    assert "--overwrite" in done.stderr
    assert (tmp_path / "old.nii").read_text() == "old"


def test_a_mask_of_another_grid_is_refused(ctrestore, scan_file, small_ct, tmp_path):
    write_volume(small_ct, tmp_path / "elsewhere.nrrd")
    done = ctrestore(
        "denoise", scan_file, tmp_path / "x.nii", "--mask", tmp_path / "elsewhere.nrrd", check=3
    )
    assert "grid" in done.stderr


def test_not_a_number_is_refused_with_its_place(ctrestore, small_ct, tmp_path):
    values = small_ct.values.copy()
    values[1, 2, 3] = np.nan
    np.save(tmp_path / "nan.npy", values)
    done = ctrestore(
        "denoise", tmp_path / "nan.npy", tmp_path / "out.nii", "--input-unit", "hu", "--voxel-size",
        "1,1,1", check=3,
    )  # fmt: skip
    assert "(1, 2, 3)" in done.stderr
    assert not (tmp_path / "out.nii").exists()


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float64", "int64"])
def test_every_stored_type_is_read(ctrestore, tmp_path, dtype):
    values = np.random.default_rng(0).integers(0, 100, (1, 24, 24)).astype(dtype)
    np.save(tmp_path / "in.npy", values)
    ctrestore(
        "denoise", tmp_path / "in.npy", tmp_path / "out.nrrd", "--method", "wavelet",
        "--input-unit", "grey", "--voxel-size", "1,1,1", check=0,
    )  # fmt: skip
    assert read_volume(tmp_path / "out.nrrd").volume.shape == (1, 24, 24)


def test_simulate_reconstruct_measure(ctrestore, scan_file, tmp_path):
    views = tmp_path / "views.mha"
    ctrestore(
        "simulate", scan_file, views, "--views", 20, "--arc", 360, "--sod", 300, "--sdd", 450,
        "--i0", 1e6, "--seed", 3, "--input-unit", "hu", check=0,
    )  # fmt: skip
    out = tmp_path / "fewer.nrrd"
    ctrestore(
        "reconstruct",
        views,
        out,
        "--method",
        "os-sart",
        "--like",
        scan_file,
        "--views",
        10,
        check=0,
    )
    source, result = read_volume(scan_file).volume, read_volume(out).volume
    assert result.geometry.matches(source.geometry, tolerance_mm=1e-4)
    # The bone rod lies where it lay, on a turned and left-handed grid.
    assert result.values[12, 15, 24] > 500
    assert abs(result.values[8:16, 13:18, 12:17].mean() - 40) < 60
    measured = json.loads(
        ctrestore("measure", out, "--reference", scan_file, "--json", check=0).stdout
    )
    scores = {m["name"]: m["value"] for m in measured["measures"]}
    assert scores["psnr"] > 20
    again = json.loads(
        ctrestore("replay", tmp_path / "fewer.json", "--input", views, "--json", check=0).stdout
    )
    assert again["identical"] is True


def test_compare_writes_one_self_contained_page(ctrestore, scan_file, tmp_path):
    ctrestore("denoise", scan_file, tmp_path / "q.nrrd", "--method", "bilateral", check=0)
    page = tmp_path / "report.html"
    ctrestore("compare", scan_file, tmp_path / "q.nrrd", "--out", page, check=0)
    text = page.read_text(encoding="utf-8")
    assert "Research use only" in text or "research use only" in text
    for outside in ('src="http', "src='http", 'href="http', "@import", "fetch("):
        assert outside not in text


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a child")
def test_ctrl_c_cancels_cleanly(tmp_path):
    values = np.random.default_rng(0).normal(0, 20, (400, 256, 256)).astype(np.float32)
    np.save(tmp_path / "in.npy", values)
    command = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's '&' ignores it
        "from ctrestorelib.apps.cli.main import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", command, "denoise",
         str(tmp_path / "in.npy"), str(tmp_path / "out.nii"), "--method", "nlm", "--voxel-size",
         "1,1,1", "--input-unit", "hu", "--threads", "1"],
        stderr=subprocess.PIPE, text=True,
        env={**os.environ, "CTRESTORE_JOBS": str(tmp_path / "jobs")},
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if re.match(r"\s*\d+%", line):  # a slow start may skip the first figures
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(30) == 130
    assert "cancelled" in rest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.npy", "jobs"]
    assert list((tmp_path / "jobs").iterdir()) == []


@pytest.mark.parametrize(("name", "shear"), [("out.foo", 0.0), ("out.nii", 0.3)])
def test_an_unfit_output_format_is_refused_before_the_run(
    ctrestore, small_ct, tmp_path, name, shear
):
    matrix = np.diag([0.8, 0.8, 1.5, 1.0])
    matrix[1, 2] = shear
    sheared = Volume(small_ct.values, VolumeGeometry(small_ct.shape, matrix), Unit.HU)
    write_volume(sheared, tmp_path / "scan.npz")
    done = ctrestore("denoise", tmp_path / "scan.npz", tmp_path / name)
    assert done.returncode in (2, 3)
    assert ".nrrd" in done.stderr
    assert "%" not in done.stderr, "nothing ran"
