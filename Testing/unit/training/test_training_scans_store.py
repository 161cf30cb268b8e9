"""The store of virtual scans: whole or absent, made once, and true to the subject."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.geometry.projections import ProjectionKind
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.training.scans.store import (
    item_numbers,
    load_item,
    make_items,
    read_item,
    scan_tasks,
)
from ctrestorelib.training.scans.subjects import SubjectTask, make_subject

CELLS, PIXELS = 32, 40
SUBJECTS = [SubjectTask(n, kind, None, 3) for n, kind in enumerate(("foam", "disc", "tooth"))]


@pytest.fixture(scope="module")
def a_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    random = scan_tasks(SUBJECTS, CELLS, PIXELS)
    anchor = scan_tasks([SubjectTask(7, "foam", None, 3)], CELLS, PIXELS, views=12)
    assert make_items([*random, *anchor], folder) == 4
    return folder


def test_an_item_is_whole(a_store):
    assert item_numbers(a_store) == [0, 1, 2, 7]
    item = read_item(a_store, 0)
    assert item.truth.shape == (CELLS,) * 3
    assert item.truth.dtype == item.projections.dtype == np.float32
    assert item.truth.min() >= 0
    assert item.projections.shape == (item.protocol.views, PIXELS, PIXELS)
    assert item.facts["kind"] == "foam"
    assert not list(a_store.glob("*.part"))


def test_the_truth_is_the_mean_of_the_finer_subject(a_store):
    fine = make_subject(SUBJECTS[1], 2 * CELLS)
    _, truth = load_item(a_store, 1)
    blocks = fine.values.reshape(CELLS, 2, CELLS, 2, CELLS, 2).mean(axis=(1, 3, 5))
    assert truth.unit is Unit.HU
    assert np.abs(truth.values - blocks).max() < 4  # float16 keeps 11 bits
    assert truth.geometry.spacing_mm[0] == pytest.approx(2 * fine.geometry.spacing_mm[0])


def test_the_truth_explains_noise_free_projections(a_store):
    item = read_item(a_store, 7)
    assert item.protocol.i0 is None
    again = _reprojected(item)
    error = np.sqrt(np.mean((again - item.projections) ** 2) / np.mean(item.projections**2))
    assert error < 0.05
    # But not exactly: another model made them.
    assert error > 1e-4


def test_the_set_of_an_item_is_in_attenuation(a_store):
    scan, _ = load_item(a_store, 7)
    assert scan.kind is ProjectionKind.LINE_INTEGRAL
    water = read_item(a_store, 7).projections
    assert np.allclose(scan.values, water * MU_WATER_PER_MM, rtol=1e-5)
    assert scan.views == 12
    assert scan.i0 is None


def test_noise_is_as_the_protocol_says(tmp_path):
    from ctrestorelib.training.scans import store
    from ctrestorelib.training.scans.acquisition import anchor_protocol

    task = scan_tasks([SubjectTask(0, "foam", None, 3)], CELLS, PIXELS)[0]
    fields = {}
    for name, i0 in (("clean", None), ("noisy", 2e4)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                store, "_protocol", lambda _t, cube, i0=i0: anchor_protocol(cube, 8, PIXELS, i0=i0)
            )
            make_items([task], tmp_path / name)
        fields[name] = load_item(tmp_path / name, 0)[0].values
    line, noise = fields["clean"], fields["noisy"] - fields["clean"]
    counts = 2e4 * np.exp(-line)
    sigma = np.sqrt(counts + 100) / counts
    assert np.mean((noise / sigma)[line < 3] ** 2) == pytest.approx(1.0, abs=0.06)


def test_made_items_stay_and_others_are_refused(a_store):
    before = {p.name: p.stat().st_mtime_ns for p in a_store.iterdir()}
    assert make_items(scan_tasks(SUBJECTS, CELLS, PIXELS), a_store) == 3
    assert {p.name: p.stat().st_mtime_ns for p in a_store.iterdir()} == before
    with pytest.raises(InputError, match="other subjects"):
        make_items(scan_tasks(SUBJECTS, CELLS, PIXELS + 2), a_store)


def test_a_stopped_run_goes_on_and_gives_the_same(a_store, tmp_path):
    tasks = scan_tasks(SUBJECTS[:2], CELLS, PIXELS)
    make_items(tasks[:1], tmp_path)
    (tmp_path / "000001_truth.part").write_bytes(b"half")
    told = []
    make_items(tasks, tmp_path, report=told.append)
    assert told == ["1 of 1 items made"]
    for name in ("000000_truth.npy", "000001_projections.npy"):
        assert (tmp_path / name).read_bytes() == (a_store / name).read_bytes()
    assert json.loads((tmp_path / "000001.json").read_text()) == json.loads(
        (a_store / "000001.json").read_text()
    )


def test_what_is_absent_or_old_is_told(a_store, tmp_path):
    with pytest.raises(InputError, match="no item 5"):
        load_item(a_store, 5)
    for path in a_store.glob("000000*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    record = json.loads((tmp_path / "000000.json").read_text())
    record["task"]["recipe"] = 0
    (tmp_path / "000000.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="another version"):
        load_item(tmp_path, 0)
    with pytest.raises(UsageError, match="16"):
        scan_tasks(SUBJECTS, 8, PIXELS)


def _reprojected(item):
    operator = XrayOperator(item.geometry, item.grid)
    return operator.to_numpy(operator(operator.asarray(item.truth)))
