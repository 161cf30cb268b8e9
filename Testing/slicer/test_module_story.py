"""One story on a real scan, from loading to a saved and reloaded scene, through the panels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import slicer

MODULE = Path(__file__).parents[2] / "CTRestore" / "CTRestore.py"


@pytest.fixture
def module(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("CTRESTORE_JOBS", str(tmp_path / "jobs"))
    widget = bench.load_module(MODULE)
    yield widget
    bench.unload_module()


class Reader:
    """The person at the panel: presses, waits, reads."""

    def __init__(self, bench, module):
        self.bench, self.module = bench, module
        self.desk = module.desk

    def panel(self, name):
        return next(p for p in self.desk.panels if type(p).__name__ == name)

    def settle(self):
        self.bench.pump(lambda: not self.desk._refreshPending, timeout=10)

    def apply(self, name, timeout=240):
        part = self.panel(name)
        self.settle()
        assert part.ui.applyButton.enabled, part.ui.problemLabel.text
        part.ui.applyButton.click()
        self.bench.pump(lambda: not self.desk.session.busy, timeout=timeout)
        self.settle()
        assert part.ui.statusLabel.text.startswith("Done in"), part.ui.statusLabel.text

    def apply_then_cancel(self, name):
        part = self.panel(name)
        self.settle()
        part.ui.applyButton.click()
        self.bench.pump(lambda: part.ui.applyButton.text == "Cancel", timeout=10)
        part.ui.applyButton.click()
        self.bench.pump(lambda: not self.desk.session.busy, timeout=30)
        self.settle()
        assert "Cancelled" in part.ui.statusLabel.text


def values(node):
    return slicer.util.arrayFromVolume(node)


def numbers(table, column):
    return [float(table.GetCellText(row, column)) for row in (1,)]


def test_a_knee_from_loading_to_the_reloaded_scene(bench, module, data_file, tmp_path):
    person = Reader(bench, module)
    knee = slicer.util.loadVolume(str(data_file("knee_sts010_petct.nii.gz")))
    original = values(knee).copy()

    person.desk.change({"input_volume": knee})
    person.apply_then_cancel("DenoisePanel")
    person.apply("DenoisePanel")
    restored = person.desk.store.get("compare_b")
    assert np.array_equal(values(knee), original)
    assert values(restored).shape == original.shape

    compare = person.panel("ComparePanel")
    user_layout = slicer.app.layoutManager().layout
    compare.ui.compareButton.click()
    person.settle()
    assert compare.ui.compareButton.text == "Close comparison"
    left, right = (bench.pixels(f"CTRestoreCompare{n}") for n in "AB")
    assert left.std() > 10
    assert right.std() > 10
    person.desk.change({"compare_mode": "wipe"})
    person.settle()
    assert compare.comparison.mode.value == "wipe"

    segment = person.panel("SegmentPanel")
    person.settle()
    segment.ui.segmentButton.click()
    person.settle()
    dice = next(
        float(segment.ui.segmentTable.item(row, 1).text())
        for row in range(segment.ui.segmentTable.rowCount)
        if segment.ui.segmentTable.verticalHeaderItem(row).text().startswith("Dice")
    )
    assert 0.8 < dice < 1.0
    segment.ui.surfaceButton.click()
    segment.ui.distanceButton.click()
    person.desk.change({"segment_folder": str(tmp_path)})
    person.settle()
    segment.ui.surfaceExportButton.click()
    assert len(list(tmp_path.glob("*.stl"))) == 2
    assert re.search(r"watertight", segment.ui.surfaceStatusLabel.text)

    person.desk.change({"scan_volume": knee, "scan__views": 10})
    person.apply("ScanPanel")
    assert person.desk.store.get("reconstruct_stack") is not None
    person.desk.change({"reconstruct_method": "tv", "tv__iterations": 20})
    person.apply("ReconstructPanel", timeout=400)
    reconstruction = person.desk.store.get("compare_b")
    assert values(reconstruction).shape == original.shape
    person.desk.change({"compare_mode": "side_by_side"})
    person.settle()
    compare.ui.compareButton.click()
    person.settle()
    assert slicer.app.layoutManager().layout == user_layout

    check_saved_and_reloaded(person, tmp_path, (knee, restored, reconstruction))


def check_saved_and_reloaded(person, tmp_path, nodes):
    from ctrestorelib.mrml.records import record_of

    arrays = {node.GetName(): values(node).copy() for node in nodes}
    records = {node.GetName(): record_of(node) for node in nodes}
    stored = {n: person.desk.store.node.GetParameter(n)
              for n in person.desk.store.node.GetParameterNames()}  # fmt: skip
    path = tmp_path / "story.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(0)
    person.settle()
    slicer.util.loadScene(str(path))
    person.settle()
    for name, array in arrays.items():
        node = slicer.mrmlScene.GetFirstNodeByName(name)
        assert np.array_equal(values(node), array), name
        again, before = record_of(node), records[name]
        assert (again is None) == (before is None)
        assert again is None or again.to_json() == before.to_json()
    store = person.desk.store
    for name, text in stored.items():
        assert store.node.GetParameter(name) == text, name
    assert store.get("input_volume").GetName() == nodes[0].GetName()
    assert store.get("compare_b").GetName() == nodes[2].GetName()
