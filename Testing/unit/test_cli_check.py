"""ctrestore reconstruct --check: lights in words, a map in percent, all figures as a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from ctrestorelib.apps.cli.reconstruct import reconstruct
from ctrestorelib.apps.cli.scan_checks import (
    check_and_save,
    check_outputs,
    map_of,
    report_of,
)
from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import JobResult
from ctrestorelib.physics.scan_protocol import ScanProtocol
from ctrestorelib.physics.virtual_scan import virtual_scan
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

GRID = VolumeGeometry.from_spacing((10, 12, 12), (6.0, 6.0, 6.0))


def head():
    k, j, i = np.mgrid[:10, :12, :12] - np.array([4.5, 5.5, 5.5])[:, None, None, None]
    values = np.where((j**2 + i**2 < 20) & (abs(k) < 4), 40.0, -1000.0)
    values[(j - 1) ** 2 + (i + 1) ** 2 < 3] = 700.0
    return Volume(values, GRID, Unit.HU)


def test_lights_map_and_figures_are_written_beside_the_result(tmp_path, capsys):
    scan = virtual_scan(head(), ScanProtocol(views=6, arc_deg=180, oversample=1, refine=1))
    inputs = Inputs(projections=scan, grid=GRID)
    request = JobRequest("sirt", inputs, {"iterations": 5}, budget=Budget(2**32, threads=1))
    result = JobResult(head(), Provenance("sirt", "1", {}, (), {}, 0))
    out = tmp_path / "few.nrrd"
    check_and_save(request, result, out, quiet=False)
    told = capsys.readouterr().out
    for title in ("Fit of the views:", "Left-out view:", "Measured share:", "Scan geometry:"):
        assert title in told
    percent = read_volume(tmp_path / "few-measured-percent.nrrd").volume
    assert percent.geometry.matches(GRID, tolerance_mm=1e-4)
    assert 0.0 <= percent.values.min() < percent.values.max() <= 100.0
    record = json.loads((tmp_path / "few-check.json").read_text(encoding="utf-8"))
    assert [light["name"] for light in record["lights"]] == [
        "fit", "left_out", "measured", "geometry",
    ]  # fmt: skip
    assert record["summary"]
    assert all(light["sentence"] in told for light in record["lights"])


def test_nothing_that_exists_is_overwritten(tmp_path):
    out = tmp_path / "knee-check.nii.gz"
    assert map_of(out).name == "knee-check-measured-percent.nii.gz"
    assert report_of(out).name == "knee-check-check.json"
    check_outputs(out, [], overwrite=False)
    map_of(out).write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists already"):
        check_outputs(out, [], overwrite=False)
    check_outputs(out, [], overwrite=True)
    with pytest.raises(UsageError, match="input itself"):
        check_outputs(out, [report_of(out)], overwrite=True)


def test_the_command_refuses_before_it_reads_anything(tmp_path):
    out = tmp_path / "knee.nrrd"
    report_of(out).write_text("mine", encoding="utf-8")
    arguments = [str(tmp_path / "absent.mha"), str(out), "-m", "sirt"]
    refused = CliRunner().invoke(reconstruct, [*arguments, "--check"])
    assert isinstance(refused.exception, UsageError)
    assert "knee-check.json exists already" in refused.exception.message
    assert not isinstance(CliRunner().invoke(reconstruct, arguments).exception, UsageError)
