"""--uncertainty on the command line: the expected errors are a file beside the result."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from ctrestorelib.apps.cli.denoise import denoise
from ctrestorelib.apps.cli.files import parts_of, sidecar_of, uncertainty_of
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume, write_volume
from ctrestorelib.weights.store import absent_weights

pytestmark = pytest.mark.skipif(
    bool(absent_weights(["ctd-fast"])), reason="the weights of ctd are not here"
)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    rng = np.random.default_rng(3)
    values = np.where(np.hypot(*(np.mgrid[:24, :24] - 11.5)) < 9, 40.0, -1000.0)
    values = np.stack([values] * 20) + rng.normal(0, 30, (20, 24, 24))
    path = tmp_path_factory.mktemp("scan") / "head.nii.gz"
    write_volume(
        Volume(values, VolumeGeometry.from_spacing((20, 24, 24), (1.0,) * 3), Unit.HU), path
    )
    return path


def call(*arguments):
    return CliRunner().invoke(denoise, [str(a) for a in arguments])


def test_the_map_lies_beside_the_result_on_its_grid_and_is_named(scan, tmp_path):
    out = tmp_path / "clean.nii.gz"
    answer = call(scan, out, "-m", "ctd", "--uncertainty", "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["uncertainty"] == str(tmp_path / "clean-uncertainty.nii.gz")
    errors = read_volume(uncertainty_of(out)).volume
    assert errors.geometry.matches(read_volume(out).volume.geometry)
    inside = errors.values[5:15, 8:16, 8:16]
    assert 0.5 < np.median(inside) < 60.0  # HU, below the noise's size or about it


def test_nothing_runs_where_the_map_would_replace_a_file(scan, tmp_path):
    out = tmp_path / "clean.nii.gz"
    uncertainty_of(out).write_text("mine")
    answer = call(scan, out, "-m", "ctd", "--uncertainty")
    assert answer.exit_code != 0
    assert "clean-uncertainty.nii.gz exists already" in str(answer.exception or answer.output)
    assert not out.exists()
    assert uncertainty_of(out).read_text() == "mine"


def test_nobody_gets_a_map_who_did_not_ask(scan, tmp_path):
    out = tmp_path / "clean.nii.gz"
    assert call(scan, out, "-m", "tv-denoise").exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clean.json", "clean.nii.gz"]


def test_names_beside_a_result(tmp_path):
    assert parts_of(tmp_path / "a.b.nii.gz") == ("a.b", ".nii.gz")
    assert parts_of(tmp_path / "a.mha") == ("a", ".mha")
    assert sidecar_of(tmp_path / "a.nii.gz").name == "a.json"
    assert sidecar_of(tmp_path / "series").name == "series.json"
    assert uncertainty_of(tmp_path / "a.mha").name == "a-uncertainty.mha"
