"""Several restorations one after another: each with the settings of its own moment."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ctrestorelib.core.errors import UsageError
from ctrestorelib.mrml.parameters import NodeField
from ctrestorelib.mrml.records import record_of
from ctrestorelib.mrml.session import State
from ctrestorelib.mrml.settings import all_settings
from ctrestorelib.mrml.snapshots import Snapshot
from ctrestorelib.mrml.tasks.denoise import DenoiseTask
from ctrestorelib.mrml.tasks.scan import ScanTask
from ctrestorelib.mrml.volumes import new_volume_node, volume_from_node


@pytest.fixture
def knee(context, store, small_ct):
    node = new_volume_node(context, "knee", small_ct)
    store.update({"input_volume": node, "denoise_method": "bilateral"})
    return node


def finish(session, seconds=60):
    end = time.monotonic() + seconds
    while session.busy:
        assert time.monotonic() < end, session.sentence
        session.poll()
        time.sleep(0.01)


def results(session):
    return [session.context.node(i) for o in session.outcomes for i in o.node_ids]


def slow(store):
    store.set("denoise_method", "anisotropic-diffusion")
    (name,) = (n for n in store.names("anisotropic_diffusion__") if n.endswith("iterations"))
    store.set(name, int(store.setting(name).info.bounds[1]))


def test_each_run_has_the_settings_of_the_moment_it_was_asked_for(context, store, session, knee):
    session.enqueue(DenoiseTask(context, store))
    store.set("denoise_strength", 0.0)
    session.enqueue(DenoiseTask(context, store))
    store.set("denoise_strength", 0.5)
    session.enqueue(DenoiseTask(context, store))
    store.set("denoise_strength", 0.9)
    assert [task.title for task in session.waiting] == [session.task.title] * 2
    finish(session)
    strengths = [record_of(node).strength for node in results(session)]
    assert strengths == [1.0, 0.0, 0.5]
    untouched = volume_from_node(results(session)[1]).volume.values
    assert np.array_equal(untouched, volume_from_node(knee).volume.values)
    assert store.get("denoise_strength") == 0.9


def test_the_newest_result_is_put_up_for_comparison_in_the_live_settings(
    context, store, session, knee
):
    session.enqueue(DenoiseTask(context, store))
    session.enqueue(DenoiseTask(context, store))
    finish(session)
    assert store.get("compare_a") is knee
    assert store.get("compare_b") is results(session)[-1]


def test_another_input_chosen_meanwhile_changes_nothing(context, store, session, knee, small_ct):
    session.enqueue(DenoiseTask(context, store))
    session.enqueue(DenoiseTask(context, store))
    store.set("input_volume", new_volume_node(context, "tibia", small_ct))
    finish(session)
    assert all(node.GetName().startswith("knee") for node in results(session))


def test_a_waiting_job_whose_volume_is_gone_is_told_and_the_next_one_runs(
    context, store, session, knee, small_ct
):
    tibia = new_volume_node(context, "tibia", small_ct)
    session.enqueue(DenoiseTask(context, store))
    store.set("input_volume", tibia)
    session.enqueue(DenoiseTask(context, store))
    store.set("input_volume", knee)
    session.enqueue(DenoiseTask(context, store))
    context.scene.RemoveNode(tibia)
    finish(session)
    assert [outcome.failed for outcome in session.outcomes] == [False, True, False]
    assert session.outcomes[1].text.startswith("tibia (Volume) is no longer in the scene.")
    assert len(results(session)) == 2


def test_a_lost_region_stops_the_job_instead_of_widening_it(context, store, session, knee):
    roi = context.new_node("vtkMRMLMarkupsROINode", "patella")
    roi.SetCenter(-10.0, -10.0, 15.0)
    roi.SetSize(8.0, 8.0, 8.0)
    session.enqueue(DenoiseTask(context, store))
    store.set("denoise_roi", roi)
    session.enqueue(DenoiseTask(context, store))
    context.scene.RemoveNode(roi)
    finish(session)
    assert len(results(session)) == 1
    assert "patella (Region) is no longer in the scene" in session.outcomes[1].text


def test_cancel_stops_the_run_and_the_next_one_follows(context, store, session, knee):
    slow(store)
    session.enqueue(DenoiseTask(context, store))
    store.set("denoise_method", "bilateral")
    session.enqueue(DenoiseTask(context, store))
    session.cancel()
    assert session.state is State.CANCELLING
    finish(session)
    assert session.outcomes[0].text == "Cancelled. Nothing was changed."
    assert [record_of(node).method for node in results(session)] == ["bilateral"]


def test_a_waiting_job_can_be_withdrawn(context, store, session, knee):
    session.enqueue(DenoiseTask(context, store))
    second = DenoiseTask(context, store)
    session.enqueue(second)
    session.withdraw(second)
    session.withdraw(second)
    assert session.waiting == []
    finish(session)
    assert len(session.outcomes) == 1


def test_what_cannot_start_does_not_wait(context, store, session, knee):
    session.enqueue(DenoiseTask(context, store))
    store.set("input_volume", None)
    with pytest.raises(UsageError, match="Choose a volume"):
        session.enqueue(DenoiseTask(context, store))
    assert session.waiting == []
    finish(session)


def test_closing_the_scene_empties_the_queue(context, store, session, knee):
    slow(store)
    session.enqueue(DenoiseTask(context, store))
    session.enqueue(DenoiseTask(context, store))
    context.scene.Clear(0)
    assert session.state is State.IDLE
    assert session.waiting == []
    assert session.outcomes == []


def test_different_kinds_of_work_wait_in_one_queue(context, store, session, knee):
    store.update({"scan__views": 8, "scan__oversample": 1, "scan__refine": 1})
    session.enqueue(DenoiseTask(context, store))
    session.enqueue(ScanTask(context, store))
    finish(session)
    assert store.get("reconstruct_stack") is results(session)[1]
    assert [outcome.title.split(":")[0] for outcome in session.outcomes][1] == "Virtual scan"


def test_a_snapshot_reads_the_past_and_writes_to_the_present(context, store, knee):
    kept = Snapshot(store)
    store.update({"denoise_strength": 0.25, "input_volume": None})
    assert kept.get("denoise_strength") == 1.0
    assert kept.get("input_volume") is knee
    assert kept.is_default("denoise_strength")
    kept.set("export_record", False)
    assert store.get("export_record") is False
    assert kept.get("export_record") is True


def test_a_snapshot_holds_every_declared_setting(store, knee):
    kept = Snapshot(store)
    for name, setting in all_settings().items():
        if isinstance(setting, NodeField):
            assert kept.get(name) is store.get(name)
        else:
            assert kept.get(name) == store.get(name), name
    with pytest.raises(KeyError):
        kept.get("no_such_setting")


def test_a_snapshot_of_a_snapshot_is_the_same_moment(store, knee):
    first = Snapshot(store)
    store.set("denoise_strength", 0.1)
    assert Snapshot(first).get("denoise_strength") == 1.0


def test_only_lost_nodes_that_were_asked_for_are_named(context, store, knee, small_ct):
    other = new_volume_node(context, "other", small_ct)
    store.set("compare_c", other)
    kept = Snapshot(store)
    context.scene.RemoveNode(other)
    context.scene.RemoveNode(knee)
    assert kept.gone == []
    assert kept.get("input_volume") is None
    assert kept.gone == ["knee (Volume) is no longer in the scene."]
