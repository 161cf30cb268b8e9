"""The unmodified desktop module on the bench: a reconstruction is checked and its map laid over."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.measured_map import map_of
from ctrestorelib.mrml.scan_checks import lights_of
from ctrestorelib.mrml.stacks import stack_node
from ctrestorelib.mrml.volumes import new_volume_node
from ctrestorelib.physics.scan_protocol import ScanProtocol
from ctrestorelib.physics.virtual_scan import virtual_scan

PATIENCE_S = 600
"""For a run with its steps; the machine may be busy with other things."""


@pytest.fixture
def part(module):
    """Return the reconstruction panel with the views of a small rod chosen."""
    k, j, i = np.mgrid[:10, :16, :16] - np.array([4.5, 7.5, 7.5])[:, None, None, None]
    values = np.where((j**2 + i**2 < 36) & (abs(k) < 4), 40.0, -1000.0)
    grid = VolumeGeometry.from_spacing(values.shape, (5.0, 5.0, 5.0))
    volume = Volume(values.astype(np.float32), grid, Unit.HU)
    context = module.desk.context
    views = virtual_scan(volume, ScanProtocol(views=8, oversample=1, refine=1))
    module.desk.change({"reconstruct_stack": stack_node(context, views, "views"),
                        "reconstruct_like": new_volume_node(context, "rod", volume),
                        "reconstruct_method": "sirt", "sirt__iterations": 5})  # fmt: skip
    return next(p for p in module.desk.panels if type(p).__name__ == "ReconstructPanel")


def run(bench, module, part):
    """Press Apply and wait for the end of all steps."""
    bench.pump(lambda: not module.desk._refreshPending, timeout=10)
    assert part.ui.applyButton.enabled, part.ui.problemLabel.text
    part.ui.applyButton.click()
    bench.pump(lambda: not module.desk.session.busy, timeout=PATIENCE_S)
    bench.pump(lambda: not module.desk._refreshPending, timeout=10)


def test_lights_map_and_misfit_stand_below_a_checked_result(bench, module, part):
    ui = part.ui
    assert ui.checkBox.isHidden()
    assert ui.measuredButton.isHidden()
    ui.checkCheck.setChecked(True)
    ui.calibrateCheck.setChecked(True)
    assert module.desk.store.get("reconstruct_check") is True
    assert module.desk.store.get("reconstruct_calibrate") is True
    run(bench, module, part)
    volume = module.desk.store.get("compare_b")
    lights = lights_of(volume)
    assert [light.name for light in lights] == ["fit", "left_out", "measured", "geometry"]
    for light in lights:
        assert light.title.replace(" ", "&nbsp;") in ui.checkLightsLabel.text
        assert light.sentence in ui.checkDetails.text
    assert ui.checkedLabel.text == f"Checked: {volume.GetName()}"
    assert "Geometry looked at in" in ui.statusLabel.text
    assert "Checked in" in ui.statusLabel.text

    assert ui.legendLabel.isHidden()
    assert ui.measuredButton.text == "Show what was measured"
    ui.measuredButton.click()
    assert ui.measuredButton.text == "Hide what was measured"
    assert not ui.legendLabel.isHidden()
    coloured = bench.pixels("Red").astype(int)
    assert np.ptp(coloured, axis=2).max() > 30, "the map's colours are in the slice view"
    ui.measuredButton.click()
    assert ui.legendLabel.isHidden()
    grey = bench.pixels("Red").astype(int)
    assert np.median(np.ptp(grey, axis=2)) == 0

    ui.misfitButton.click()
    selection = slicer.app.applicationLogic().GetSelectionNode()
    table = slicer.mrmlScene.GetNodeByID(selection.GetActiveTableID())
    assert table.GetNumberOfRows() == 8
    chart = slicer.mrmlScene.GetNodeByID(selection.GetActivePlotChartID())
    assert chart.GetTitle() == "Misfit of every view"

    about = next(p for p in module.desk.panels if type(p).__name__ == "AboutPanel")
    about.ui.discardButton.click()
    bench.pump(lambda: not module.desk._refreshPending, timeout=10)
    assert slicer.mrmlScene.GetFirstNodeByName(volume.GetName()) is None
    assert ui.checkBox.isHidden()
    assert ui.measuredButton.isHidden()


def test_the_check_can_be_cancelled_and_the_result_stays(bench, module, part):
    from ctrestorelib.mrml.tasks.reconstruct_checks import CheckTask

    part.ui.checkCheck.setChecked(True)
    bench.pump(lambda: not module.desk._refreshPending, timeout=10)
    part.ui.applyButton.click()
    session = module.desk.session
    bench.pump(lambda: isinstance(session.task, CheckTask), timeout=PATIENCE_S)
    assert part.ui.applyButton.text == "Cancel"
    part.ui.applyButton.click()
    bench.pump(lambda: not session.busy, timeout=PATIENCE_S)
    bench.pump(lambda: not module.desk._refreshPending, timeout=10)
    assert "The check was cancelled; the result stays, unchecked." in part.ui.statusLabel.text
    volume = module.desk.store.get("compare_b")
    assert volume is not None
    assert map_of(volume) is None
    assert part.ui.checkBox.isHidden()
