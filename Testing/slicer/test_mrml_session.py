"""From Apply to the new node, without a window: runs, cancels, refusals, and what goes wrong."""

from __future__ import annotations

import os
import resource
import signal
import time

import numpy as np
import pytest

from ctrestorelib.core.errors import CTRestoreError, UsageError
from ctrestorelib.mrml.records import record_of
from ctrestorelib.mrml.session import State
from ctrestorelib.mrml.tasks.denoise import DenoiseTask
from ctrestorelib.mrml.tasks.reconstruct import ReconstructTask
from ctrestorelib.mrml.tasks.scan import ScanTask
from ctrestorelib.mrml.volumes import new_volume_node, volume_from_node


@pytest.fixture
def knee(context, store, small_ct):
    node = new_volume_node(context, "knee", small_ct)
    store.set("input_volume", node)
    store.set("denoise_method", "bilateral")
    return node


def finish(session, seconds=60):
    end = time.monotonic() + seconds
    while session.busy:
        assert time.monotonic() < end, session.sentence
        session.poll()
        time.sleep(0.01)


def volumes(context):
    scene = context.scene
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    return [scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeNode") for n in range(count)]


def slow(store):
    """Settings with which the small volume takes long enough to be caught in the act."""
    store.update({"denoise_method": "anisotropic-diffusion"})
    names = store.names("anisotropic_diffusion__")
    longest = next(n for n in names if n.endswith("iterations"))
    store.set(longest, int(store.setting(longest).info.bounds[1]))


def test_denoise_makes_one_new_volume_with_its_record(context, store, session, knee):
    before = volume_from_node(knee).volume.values.copy()
    task = DenoiseTask(context, store)
    assert task.problems() == []
    assert task.plan().seconds > 0
    session.start(task)
    assert session.state is State.RUNNING
    finish(session)
    assert session.outcome.failed is False, session.outcome.text
    (result,) = [v for v in volumes(context) if v is not knee]
    assert record_of(result).method == "bilateral"
    assert np.array_equal(volume_from_node(knee).volume.values, before)
    assert not np.array_equal(volume_from_node(result).volume.values, before)
    assert store.get("compare_a") is knee
    assert store.get("compare_b") is result


def test_strength_zero_gives_the_original_bit_for_bit(context, store, session, knee):
    store.set("denoise_strength", 0.0)
    session.start(DenoiseTask(context, store))
    finish(session)
    result = context.node(session.outcome.node_ids[0])
    assert np.array_equal(
        volume_from_node(result).volume.values, volume_from_node(knee).volume.values
    )


def test_cancel_then_apply_again(context, store, session, knee):
    slow(store)
    session.start(DenoiseTask(context, store))
    session.cancel()
    assert session.state is State.CANCELLING
    finish(session)
    assert session.sentence == "Cancelled. Nothing was changed."
    assert volumes(context) == [knee]
    store.set("denoise_method", "bilateral")
    session.start(DenoiseTask(context, store))
    finish(session)
    assert len(volumes(context)) == 2


def test_a_second_apply_is_refused_while_one_runs(context, store, session, knee):
    session.start(DenoiseTask(context, store))
    with pytest.raises(UsageError, match="already running"):
        session.start(DenoiseTask(context, store))
    finish(session)
    assert len(volumes(context)) == 2


def test_a_killed_worker_is_a_sentence_and_the_next_run_works(context, store, session, knee):
    slow(store)
    session.start(DenoiseTask(context, store))
    os.killpg(session._child.pid, signal.SIGKILL)
    finish(session)
    assert session.outcome.failed
    assert "stopped without a word" in session.sentence
    assert volumes(context) == [knee]
    store.set("denoise_method", "bilateral")
    session.start(DenoiseTask(context, store))
    finish(session)
    assert len(volumes(context)) == 2


def test_the_input_may_vanish_during_the_run(context, store, session, knee):
    session.start(DenoiseTask(context, store))
    context.scene.RemoveNode(knee)
    finish(session)
    (result,) = volumes(context)
    assert "source" in " ".join(w["code"] for w in record_of(result).warnings)


def test_closing_the_scene_stops_the_run(context, store, session, knee):
    slow(store)
    session.start(DenoiseTask(context, store))
    context.scene.Clear(0)
    assert session.state is State.IDLE
    session.poll()
    assert volumes(context) == []
    assert "scene was closed" in session.sentence


def test_a_full_disk_is_a_sentence(context, store, session, knee):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CTRestoreError, match="cannot be written"):
            session.start(DenoiseTask(context, store))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert session.state is State.IDLE
    assert volumes(context) == [knee]


def test_a_batch_denoises_one_after_the_other(context, store, session, knee, small_ct):
    second = new_volume_node(context, "tibia", small_ct)
    session.start([DenoiseTask(context, store), DenoiseTask(context, store, second)])
    finish(session)
    names = [context.node(i).GetName() for i in session.outcome.node_ids]
    assert len(names) == 2
    assert names[0].startswith("knee")
    assert names[1].startswith("tibia")


def test_cancelling_a_batch_keeps_what_is_done(context, store, session, knee, small_ct):
    second = new_volume_node(context, "tibia", small_ct)
    session.start([DenoiseTask(context, store), DenoiseTask(context, store, second)])
    while not session.outcome.node_ids:
        session.poll()
        time.sleep(0.01)
    session.cancel()
    finish(session)
    assert len(session.outcome.node_ids) == 1
    assert len(volumes(context)) == 3


@pytest.mark.parametrize("kind", ["vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode"])
def test_other_kinds_of_volume_are_refused_before_anything_starts(context, store, session, kind):
    node = context.new_node(kind, "labels")
    store.set("input_volume", node)
    (sentence,) = DenoiseTask(context, store).problems()
    assert "labels" in sentence
    with pytest.raises(UsageError):
        session.start(DenoiseTask(context, store))
    assert session.state is State.IDLE


def test_the_result_never_replaces_its_own_input(context, store, session, knee):
    store.set("denoise_output", knee)
    assert "replace its own input" in " ".join(DenoiseTask(context, store).problems())


def test_without_an_input_the_reason_is_said(context, store):
    assert DenoiseTask(context, store).problems() == ["Choose a volume to denoise."]
    assert ScanTask(context, store).problems() == ["Choose a volume to scan."]
    assert "Choose projections" in ReconstructTask(context, store).problems()[0]


def test_scan_then_reconstruct_on_the_same_voxels(context, store, session, knee):
    store.update({"scan_volume": knee, "scan__views": 20, "scan__oversample": 1,
                  "scan__refine": 1})  # fmt: skip
    session.start(ScanTask(context, store))
    finish(session)
    stack = store.get("reconstruct_stack")
    assert stack is not None, session.sentence
    store.set("reconstruct_method", "fdk")
    task = ReconstructTask(context, store)
    assert task.problems() == []
    session.start(task)
    finish(session)
    result = volume_from_node(context.node(session.outcome.node_ids[0])).volume
    source = volume_from_node(knee).volume
    assert result.geometry.matches(source.geometry)
    inside = source.values > 0
    assert abs(result.values[inside].mean() - source.values[inside].mean()) < 150


def test_fewer_views_are_spread_evenly(context, store, session, knee):
    store.update({"scan_volume": knee, "scan__views": 12, "scan__refine": 1})
    session.start(ScanTask(context, store))
    finish(session)
    store.set("reconstruct_views", 4)
    used = ReconstructTask(context, store)._projections()
    assert used.views == 4
    all_angles = used.geometry.source_gantry
    gaps = np.linalg.norm(np.diff(all_angles, axis=0), axis=1)
    assert np.allclose(gaps, gaps[0])


def test_a_volume_without_geometry_is_explained(context, store, knee):
    store.set("reconstruct_stack", knee)
    (sentence,) = ReconstructTask(context, store).problems()
    assert "no scan geometry" in sentence
