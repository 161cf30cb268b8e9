"""Progress, cancel, warnings and dice."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, CTRestoreError, DoesNotFit, error_from_json
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.job import Job


def test_progress_never_goes_back_and_ends_at_one():
    events = []
    job = Job(emit=events.append)
    for share in (0.3, 0.7):
        with job.stage("Stage", share) as stage:
            for _ in stage.track(range(5)):
                pass
    fractions = [e["fraction"] for e in events if e["kind"] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)


def test_cancel_stops_at_the_next_step():
    steps = []
    job = Job(is_cancelled=lambda: len(steps) == 3)
    with pytest.raises(Cancelled), job.stage("Stage", 1.0) as stage:
        for step in stage.track(range(100)):
            steps.append(step)
    assert len(steps) == 3


def test_a_warning_is_recorded_once():
    job = Job()
    job.warn("limited-angle", "The arc is short.")
    job.warn("limited-angle", "Again.")
    assert job.warnings == [{"code": "limited-angle", "text": "The arc is short."}]


def test_random_numbers_depend_on_seed_and_name_only():
    first, second = Job(seed=1), Job(seed=1)
    second.rng("other").normal(size=10)
    np.testing.assert_array_equal(first.rng("a").normal(size=4), second.rng("a").normal(size=4))
    assert not np.array_equal(first.rng("a").normal(size=4), Job(seed=2).rng("a").normal(size=4))
    assert not np.array_equal(first.rng("a").normal(size=4), first.rng("b").normal(size=4))


def test_errors_survive_the_way_between_processes():
    error = error_from_json(DoesNotFit("Too big.", hint="Take less.").to_json())
    assert isinstance(error, DoesNotFit)
    assert (error.message, error.hint, error.exit_code) == ("Too big.", "Take less.", 4)
    assert isinstance(error_from_json(Cancelled().to_json()), Cancelled)
    assert error_from_json({"type": "Unknown", "message": "m"}).exit_code == 1


def test_a_failed_write_leaves_the_old_file_and_no_crumbs(tmp_path):
    target = tmp_path / "knee.nii.gz"
    target.write_text("old")

    def half_write():
        with atomic_path(target) as temporary:
            assert temporary.name.endswith(".nii.gz")
            temporary.write_text("new")
            raise CTRestoreError("interrupted")

    with pytest.raises(CTRestoreError):
        half_write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
