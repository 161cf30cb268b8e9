"""The bench runs a small module of its own, and refuses what a desktop would not accept."""

from __future__ import annotations

import pytest
from bench_sample import MODULE, UI, write_module


@pytest.fixture
def sample(bench, tmp_path):
    """Return a function that writes the sample module (changed) and loads it."""

    def load(module=MODULE, ui=UI):
        return bench.load_module(write_module(tmp_path, module, ui))

    return load


def volume(scene, name):
    return scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)


def test_selector_follows_the_scene(bench, sample):
    widget = sample()
    combo = widget.ui.inputSelector
    assert combo.currentNode() is None
    first = volume(bench.scene, "knee")
    assert combo.currentNode() is first, "a selector without None takes the first node"
    second = volume(bench.scene, "hip")
    bench.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    assert combo.nodeCount() == 2, "the label map is hidden"
    combo.setCurrentNode(second)
    bench.scene.RemoveNode(second)
    assert combo.currentNode() is first
    assert widget.seen == ["knee", "hip", "knee"]


def test_optional_selector_goes_back_to_none(bench, sample):
    widget = sample()
    node = volume(bench.scene, "knee")
    combo = widget.ui.outputSelector
    assert combo.currentNode() is None
    combo.setCurrentNode(node)
    assert combo.currentNodeID == node.GetID()
    bench.scene.RemoveNode(node)
    assert combo.currentNode() is None
    assert combo.currentNodeID == ""
