"""ctrestore noise tells level, texture and advice, and writes what is asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from ctrestorelib.apps.noise_plot import noise_picture
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume, write_volume
from ctrestorelib.quality.noise_table import noise_rows
from ctrestorelib.quality.scan_noise import ScanNoise, describe_noise


@pytest.fixture(scope="module")
def scan():
    noise = np.random.default_rng(0).normal(40, 20, (8, 96, 96)).astype(np.float32)
    return Volume(noise, VolumeGeometry.from_spacing(noise.shape, (0.8, 0.8, 1.0)), Unit.HU)


def test_command_prints_a_table_and_writes_json_picture_and_map(ctrestore, tmp_path, scan):
    source = tmp_path / "scan.nii.gz"
    write_volume(scan, source)
    names = {n: tmp_path / n for n in ("noise.json", "noise.png", "map.nii.gz")}
    asked = ("--save", names["noise.json"], "--plot", names["noise.png"],
             "--map", names["map.nii.gz"])  # fmt: skip
    text = ctrestore("noise", source, "--input-unit", "hu", *asked, check=0).stdout
    assert "Noise in soft tissue" in text
    assert "independent noise" in text
    record = json.loads(names["noise.json"].read_text(encoding="utf-8"))
    assert record["estimate"]["sigma"] == pytest.approx(20, rel=0.05)
    assert ScanNoise.from_json(record).spectrum is not None
    assert Image.open(names["noise.png"]).size[0] > 1000
    level = read_volume(names["map.nii.gz"], unit=Unit.HU).volume
    assert level.shape == scan.shape
    assert np.median(level.values) == pytest.approx(20, rel=0.1)
    done = ctrestore("noise", source, "--plot", names["noise.png"], check=2)
    assert "exists already" in done.stderr


def test_json_goes_to_standard_output(ctrestore, tmp_path, scan):
    source = tmp_path / "scan.nii.gz"
    write_volume(scan, source)
    record = json.loads(ctrestore("noise", source, "--json", check=0).stdout)
    assert record["training"] == "interslice"
    assert record["advice"]


def test_table_and_picture_of_noise_that_cannot_be_described():
    still = np.full((3, 24, 24), 40.0, dtype=np.float32)
    volume = Volume(still, VolumeGeometry.from_spacing(still.shape, (1, 1, 1)), Unit.HU)
    found = describe_noise(volume)
    assert any("could not be measured" in told for *_, told in noise_rows(found))
    assert noise_picture(volume, found).startswith(b"\x89PNG")
    assert noise_picture(volume, ScanNoise.from_json(found.to_json())).startswith(b"\x89PNG")
