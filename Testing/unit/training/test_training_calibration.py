"""Calibration of the stated uncertainty: the factor is the smallest that keeps the promise."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import UsageError
from ctrestorelib.training.calibration import (
    FEWEST_PAIRS,
    QUANTILE,
    RISK,
    PairErrors,
    calibrate,
    outside,
    pair_errors,
    smallest_factor,
)

LIMITS = {"air": -500.0, "soft": 150.0, "bone": np.inf}


def ratios_of(rng, pairs, scale=1.0, voxels=2000):
    """Errors of a network that states 1 where the truth is ``scale``."""
    drawn = np.abs(rng.normal(0, scale, (pairs, voxels))).astype(np.float32)
    return list(np.sort(drawn, axis=1))


def test_the_factor_is_the_smallest_that_keeps_the_risk():
    ratios = ratios_of(np.random.default_rng(0), 40, scale=2.0)
    allowed = (41 * RISK - 1) / 40
    factor = smallest_factor(ratios)
    assert outside(ratios, factor) <= allowed
    assert outside(ratios, 0.995 * factor) > allowed
    fresh = ratios_of(np.random.default_rng(1), 200, scale=2.0)
    assert 0.6 * RISK < outside(fresh, factor) < RISK


def test_an_honest_network_keeps_about_its_own_statement():
    ratios = ratios_of(np.random.default_rng(2), 400)
    assert smallest_factor(ratios) == pytest.approx(1.0, abs=0.03)


def test_one_bad_pair_counts_no_more_than_the_others():
    good = ratios_of(np.random.default_rng(3), 39)
    bad = [np.full(2000, 1000.0, np.float32)]
    # A tenth of all voxels may lie outside; a pair that is wholly outside is a fortieth.
    assert smallest_factor(good) < smallest_factor([*good, *bad]) < 1.3


@pytest.mark.parametrize("pairs", [0, FEWEST_PAIRS - 1])
def test_too_few_pairs_are_refused(pairs):
    with pytest.raises(UsageError, match=f"at least {FEWEST_PAIRS} pairs; got {pairs}"):
        smallest_factor(ratios_of(np.random.default_rng(4), pairs))
    with pytest.raises(UsageError, match=r"A risk of 0\.02"):
        smallest_factor(ratios_of(np.random.default_rng(4), 20), risk=0.02)


def test_voxels_are_sorted_by_the_truth():
    rng = np.random.default_rng(5)
    clean = np.repeat([-1000.0, 40.0, 900.0], 30_000).astype(np.float32)
    error = np.repeat([1.0, 20.0, 90.0], 30_000).astype(np.float32) * rng.choice([-1, 1], 90_000)
    stated = np.full(clean.shape, 10.0, np.float32)
    found = pair_errors(error, stated, clean, LIMITS, rng).ratios
    assert {name: (r.min(), r.max()) for name, r in found.items()} == {
        "air": (pytest.approx(0.1),) * 2,
        "soft": (pytest.approx(2.0),) * 2,
        "bone": (pytest.approx(9.0),) * 2,
    }
    assert max(r.size for r in found.values()) <= 20_000
    few = pair_errors(error[:30_050], stated[:30_050], clean[:30_050], LIMITS, rng).ratios
    assert set(few) == {"air"}


def test_every_tissue_gets_its_own_factor():
    rng = np.random.default_rng(6)
    soft, bone = ratios_of(rng, 60), ratios_of(rng, 60, scale=3.0)
    pairs = [PairErrors({"soft": s, "bone": b}) for s, b in zip(soft, bone, strict=True)]
    pairs += [PairErrors({"air": a}) for a in ratios_of(rng, FEWEST_PAIRS - 1)]
    found = calibrate(pairs, list(LIMITS))
    assert set(found["factors"]) == {"soft", "bone"}
    assert found["factors"]["bone"] == pytest.approx(3 * found["factors"]["soft"], rel=0.05)
    assert found["pairs"] == {"soft": 60, "bone": 60}
    # Shares of pairs that the factors did not see.
    for share in found["outside"].values():
        assert 0.5 * RISK < share < 1.1 * RISK


def test_the_interval_is_that_of_nine_tenths():
    from scipy.stats import norm

    assert 2 * norm.sf(QUANTILE) == pytest.approx(RISK, abs=2e-4)
