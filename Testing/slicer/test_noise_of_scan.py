"""What noise a scan has: told in the panel, as a table, a chart and a volume."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.derived import DERIVED_ATTRIBUTE
from ctrestorelib.mrml.tasks.noise import NoiseTask
from ctrestorelib.mrml.volumes import new_volume_node


@pytest.fixture
def scan(module):
    """Return a volume of even soft tissue with 20 HU of noise, chosen as the first of Compare."""
    noise = np.random.default_rng(0).normal(40, 20, (8, 80, 80)).astype(np.float32)
    geometry = VolumeGeometry.from_spacing(noise.shape, (0.8, 0.8, 1.0))
    node = new_volume_node(module.desk.context, "scan", Volume(noise, geometry, Unit.HU))
    module.desk.change({"compare_a": node})
    return node


def test_one_volume_is_enough_and_the_map_is_a_volume(bench, module, scan):
    part = next(p for p in module.desk.panels if type(p).__name__ == "ComparePanel")
    bench.pump(lambda: not module.desk._refreshPending, timeout=5)
    assert part.ui.noiseMapButton.enabled
    part.ui.noiseMapButton.click()
    bench.pump(lambda: not module.desk.session.busy, timeout=90)
    bench.pump(lambda: not module.desk._refreshPending, timeout=5)
    assert "independent noise" in part.ui.measureLabel.text
    level = slicer.mrmlScene.GetFirstNodeByName("scan noise map")
    assert level.GetAttribute(DERIVED_ATTRIBUTE) == "noise-map"
    assert np.median(slicer.util.arrayFromVolume(level)) == pytest.approx(20, rel=0.1)
    table = slicer.mrmlScene.GetFirstNodeByName("Noise of the scan")
    cells = [table.GetCellText(n, 0) for n in range(table.GetNumberOfRows())]
    assert "Sharpness of the kernel" in cells
    assert slicer.mrmlScene.GetFirstNodeByName("Noise power spectrum (noise of level 1)")


def test_without_a_volume_it_says_so(module):
    task = NoiseTask(module.desk.context, module.desk.store)
    assert task.problems()[0].startswith("No volume is chosen.")
    with pytest.raises(InputError, match="No volume"):
        task.start()
