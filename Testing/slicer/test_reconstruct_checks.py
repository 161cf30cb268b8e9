"""A reconstruction looked at by its own views: lights, misfit of every view, map, geometry."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from mrml_nodes import node_ids, reopened

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.checking import check_reconstruction
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.derived import DERIVED_ATTRIBUTE
from ctrestorelib.mrml.display import window_of
from ctrestorelib.mrml.measured_map import is_laid_over, lay_over, map_of, take_off
from ctrestorelib.mrml.records import record_of
from ctrestorelib.mrml.scan_checks import (
    ALONG,
    LOOKS,
    MISFIT,
    SIDEWAYS,
    VIEW,
    latest_reconstruction,
    lights_of,
    measures_of,
    misfit_columns,
    show_misfit,
)
from ctrestorelib.mrml.session import State
from ctrestorelib.mrml.stacks import stack_node
from ctrestorelib.mrml.tasks.reconstruct import ReconstructTask
from ctrestorelib.mrml.tasks.reconstruct_checks import CheckTask
from ctrestorelib.mrml.volumes import geometry_of, new_volume_node, volume_from_node
from ctrestorelib.physics.scan_protocol import ScanProtocol
from ctrestorelib.physics.virtual_scan import virtual_scan
from ctrestorelib.quality.result import Measure, Verdict
from ctrestorelib.recon.geometry_correction import GeometryCorrection

GRID = VolumeGeometry.from_spacing((10, 16, 16), (5.0, 5.0, 5.0))


def head():
    """Return water with a rod of bone off the axis."""
    k, j, i = np.mgrid[:10, :16, :16] - np.array([4.5, 7.5, 7.5])[:, None, None, None]
    values = np.where((j**2 + i**2 < 36) & (abs(k) < 4), 40.0, -1000.0)
    values[((j - 2) ** 2 + (i + 2) ** 2 < 4) & (abs(k) < 3)] = 900.0
    return Volume(values.astype(np.float32), GRID, Unit.HU)


def scan(views):
    return virtual_scan(head(), ScanProtocol(views=views, oversample=1, refine=1))


@pytest.fixture
def chosen(context, store):
    """Return a function that puts a scan into the scene and chooses it."""

    def choose(projections, **settings):
        like = new_volume_node(context, "head", head())
        store.update({"reconstruct_stack": stack_node(context, projections, "views"),
                      "reconstruct_like": like, "reconstruct_method": "sirt",
                      "sirt__iterations": 6, **settings})  # fmt: skip
        return ReconstructTask(context, store)

    return choose


def until(session, reached, seconds=600):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, session.sentence
        session.poll()
        time.sleep(0.01)


def finish(session):
    until(session, lambda: not session.busy)


def checking(session):
    return isinstance(session.task, CheckTask)


def test_lights_misfit_and_map_are_those_of_the_command_line(context, store, session, chosen):
    task = chosen(scan(8), reconstruct_check=True)
    before = node_ids(context.scene)
    session.start(task)
    until(session, lambda: checking(session))
    volume = store.get("compare_b")
    assert volume is not None, "the result is there before its check"
    assert lights_of(volume) == ()
    assert "(2 of 2)" in session.sentence
    finish(session)
    assert session.outcome.failed is False, session.outcome.text
    request, values = task.request(), volume_from_node(volume).volume
    said = check_reconstruction(request, values, report=record_of(volume).report)
    assert [light.sentence for light in lights_of(volume)] == [x.sentence for x in said.lights]
    assert [light.verdict for light in lights_of(volume)] == [x.verdict for x in said.lights]
    assert said.summary.rstrip(".") in session.outcome.text
    assert session.outcome.text.startswith("Done in")

    percent = map_of(volume)
    assert np.array_equal(view_of(percent), said.measured_percent.values)
    assert geometry_of(percent).matches(geometry_of(volume))
    assert window_of(percent) == (50.0, 100.0)
    assert percent.GetAttribute(DERIVED_ATTRIBUTE) == "measured-percent"
    table, chart = show_misfit(context, volume)
    assert table.GetNumberOfRows() == 8
    misfits = [float(table.GetCellText(n, 1)) for n in range(8)]
    fit = next(m for m in said.measures if m.name == "view_fit")
    assert misfits == pytest.approx(fit.details["chi_squared_per_view"], abs=0.006)
    assert chart.GetNumberOfPlotSeriesNodes() == 1

    made = {table.GetID(), chart.GetID(), percent.GetID(), volume.GetID()}
    assert made == set(session.outcome.node_ids)
    assert session.outcome.node_ids[0] == volume.GetID()
    assert latest_reconstruction(context, session.history) is volume
    for node_id in session.outcome.node_ids:  # what "Discard" does
        context.scene.RemoveNode(context.node(node_id))
    left = {context.node(i).GetClassName() for i in node_ids(context.scene) - before}
    assert "vtkMRMLScalarVolumeNode" not in left
    assert "vtkMRMLTableNode" not in left
    assert latest_reconstruction(context, session.history) is None


def test_what_was_found_is_saved_with_the_scene(context, session, chosen, tmp_path):
    session.start(chosen(scan(6), reconstruct_check=True))
    finish(session)
    volume = context.node(session.outcome.node_ids[0])
    lights, values = lights_of(volume), view_of(map_of(volume)).copy()
    name = volume.GetName()
    reopened(context, tmp_path / "scene.mrb")
    again = latest_reconstruction(context, [])
    assert again.GetName() == name
    assert lights_of(again) == lights
    assert np.array_equal(view_of(map_of(again)), values)


def test_a_new_unchecked_result_shows_no_lights_of_another(context, store, session, chosen):
    session.start(chosen(scan(6), reconstruct_check=True))
    finish(session)
    first = store.get("compare_b")
    store.set("reconstruct_check", False)
    session.start(ReconstructTask(context, store))
    finish(session)
    second = latest_reconstruction(context, session.history)
    assert second is store.get("compare_b")
    assert second is not first
    assert lights_of(first)
    assert lights_of(second) == ()
    assert map_of(second) is None


def test_a_result_that_replaces_another_loses_the_lights_of_that(context, store, session, chosen):
    session.start(chosen(scan(6), reconstruct_check=True))
    finish(session)
    volume = store.get("compare_b")
    store.update({"reconstruct_check": False, "reconstruct_output": volume})
    session.start(ReconstructTask(context, store))
    finish(session)
    assert lights_of(volume) == ()
    assert map_of(volume) is None


def test_a_cancelled_check_keeps_the_result(context, session, chosen):
    session.start(chosen(scan(12), reconstruct_check=True))
    until(session, lambda: checking(session))
    session.cancel()
    assert session.state is State.CANCELLING
    finish(session)
    (volume,) = (context.node(i) for i in session.outcome.node_ids)
    assert record_of(volume).method == "sirt"
    assert lights_of(volume) == ()
    assert session.outcome.failed is False
    assert session.outcome.text.startswith("Done in")
    assert session.outcome.text.endswith("The check was cancelled; the result stays, unchecked.")


def test_a_check_that_dies_keeps_the_result_and_says_so(context, session, chosen):
    session.start(chosen(scan(12), reconstruct_check=True))
    until(session, lambda: checking(session))
    os.killpg(session._child.pid, signal.SIGKILL)
    finish(session)
    (volume,) = (context.node(i) for i in session.outcome.node_ids)
    assert lights_of(volume) == ()
    assert session.outcome.failed is True
    assert "The result could not be checked: " in session.outcome.text
    assert "stopped without a word" in session.outcome.text


def test_a_result_removed_during_its_check_is_told(context, session, chosen):
    session.start(chosen(scan(6), reconstruct_check=True))
    until(session, lambda: checking(session))
    context.scene.RemoveNode(context.node(session.outcome.node_ids[0]))
    before = node_ids(context.scene)
    finish(session)
    assert "The reconstruction is no longer in the scene." in session.outcome.text
    assert node_ids(context.scene) == before


def test_waiting_runs_bring_their_checks_along(context, store, session, chosen):
    session.enqueue(chosen(scan(6), reconstruct_check=True))
    store.set("reconstruct_check", False)
    session.enqueue(ReconstructTask(context, store))
    finish(session)
    first, second = session.outcomes
    assert "Checked in" in first.text
    assert "Checked in" not in second.text
    assert lights_of(context.node(first.node_ids[0]))
    assert second.node_ids[0] == store.get("compare_b").GetID()


def test_a_wrong_geometry_is_corrected_first_and_the_record_says_so(
    context, store, session, chosen
):
    true = scan(16)
    wrong = GeometryCorrection(shift_u_mm=6.0).applied(true.geometry)
    task = chosen(true.replace(geometry=wrong), reconstruct_calibrate=True)
    session.start(task)
    assert session.sentence.startswith("Look for geometry errors: views (1 of 2).")
    finish(session)
    (volume,) = (context.node(i) for i in session.outcome.node_ids)
    (note,) = [
        w["text"] for w in record_of(volume).warnings if w["code"] == "self-calibrated-geometry"
    ]
    assert note.startswith("The views agree better with another geometry")
    assert note.rstrip(".") in session.outcome.text
    corrected = view_of(volume).copy()
    store.set("reconstruct_calibrate", False)
    session.start(ReconstructTask(context, store))
    finish(session)
    errors = [np.abs(values - head().values).mean()
              for values in (corrected, view_of(store.get("compare_b")))]  # fmt: skip
    assert errors[0] < 0.8 * errors[1]


def test_a_right_geometry_stays(context, session, chosen):
    session.start(chosen(scan(16), reconstruct_calibrate=True))
    finish(session)
    volume = context.node(session.outcome.node_ids[0])
    assert "No better geometry was found" in session.outcome.text
    codes = {w["code"] for w in record_of(volume).warnings}
    assert "self-calibrated-geometry" not in codes


def test_too_few_views_are_refused_before_in_the_words_of_the_command_line(store, chosen):
    task = chosen(scan(4), reconstruct_calibrate=True, reconstruct_check=True)
    assert task.problems() == ["Self-calibration needs at least 6 views; this scan has 4."]
    store.set("reconstruct_calibrate", False)
    assert task.problems() == []


def test_the_plan_tells_that_checking_takes_longer(store, chosen):
    task = chosen(scan(8))
    alone = task.plan()
    store.set("reconstruct_check", True)
    assert task.plan().seconds == pytest.approx(3 * alone.seconds)
    assert task.plan().peak_host_bytes == alone.peak_host_bytes


def test_the_map_is_laid_over_and_taken_off(context):
    scene = context.scene
    volume = new_volume_node(context, "volume", head())
    percent = new_volume_node(context, "percent", head())
    views = [context.new_node("vtkMRMLSliceCompositeNode", name) for name in ("Red", "Compare")]
    views[0].SetLayoutName("RedOfThisTest")
    views[1].SetLayoutName("CTRestoreCompareAAxial")
    assert not is_laid_over(scene, percent)
    lay_over(scene, volume, percent)
    assert is_laid_over(scene, percent)
    assert views[0].GetBackgroundVolumeID() == volume.GetID()
    assert 0.0 < views[0].GetForegroundOpacity() < 1.0
    assert views[1].GetForegroundVolumeID() is None, "the comparison's views are its own"
    take_off(scene, percent)
    assert not is_laid_over(scene, percent)
    assert views[0].GetBackgroundVolumeID() == volume.GetID()
    assert not is_laid_over(scene, None)


def fit(details):
    return [Measure("view_fit", "fit", 1.0, "", verdict=Verdict.GREEN, details=details)]


def test_a_view_that_stands_out_is_named_in_its_row():
    columns = misfit_columns(
        fit({"chi_squared_per_view": [1.0, 7.126], "shift_px_per_view": [[0.1, 0.2], [0.3, 2.5]],
             "standing_out": [{"view": 1, "chi_squared": 7.1, "cause": "it looks shifted"}]})
    )  # fmt: skip
    assert columns == {VIEW: [1, 2], MISFIT: [1.0, 7.13], SIDEWAYS: [0.2, 2.5],
                       ALONG: [0.1, 0.3], LOOKS: ["", "it looks shifted"]}  # fmt: skip
    assert misfit_columns(fit({"chi_squared_per_view": ["nan", 1.0]}))[VIEW] == [1, 2]


@pytest.mark.parametrize("details", [{}, {"chi_squared_per_view": ["nan", "nan"]}])
def test_without_known_misfits_there_is_no_table(details):
    assert misfit_columns(fit(details)) == {}
    assert misfit_columns([]) == {}


def test_an_unchecked_node_has_no_lights(context):
    assert measures_of(None) == ()
    assert lights_of(new_volume_node(context, "volume", head())) == ()
