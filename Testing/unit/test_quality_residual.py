"""The residual-structure test: green on noise, red on anatomy, honest on what it cannot judge."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.quality.drift import hu_drift, regression_slope
from ctrestorelib.quality.residual import residual_structure
from ctrestorelib.quality.result import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from quality_phantoms import ct_noise, leg, volume

TRUTH, MARROW = leg()


def noisy(seed=0, **kwargs):
    # Noise grows towards the middle of a body, as it does in a scanner.
    louder = 1 + 0.5 * gaussian_filter((TRUTH > -500).astype(np.float32), (0, 10, 10))
    return volume(TRUTH + louder * ct_noise(TRUTH.shape, seed, **kwargs))


def test_pure_noise_is_green_in_nine_of_ten_seeds():
    verdicts = Counter()
    for seed in range(20):
        cutoff, next_slice = (0.2, 0.3, 0.5)[seed % 3], (0.0, 0.3, 0.8)[seed // 3 % 3]
        original = noisy(seed, cutoff=cutoff, next_slice=next_slice)
        verdicts[residual_structure(original, original.with_values(TRUTH)).verdict] += 1
    assert verdicts[Verdict.GREEN] >= 18


def test_part_of_the_noise_left_in_place_is_green_too():
    original = noisy(1)
    partly = original.with_values(original.values - 0.7 * (original.values - TRUTH))
    assert residual_structure(original, partly).verdict is Verdict.GREEN


def test_a_trace_of_anatomy_that_nobody_sees_is_tolerated():
    original = noisy(1)
    trace = 0.005 * (TRUTH - gaussian_filter(TRUTH, (0, 1, 1)))
    found = residual_structure(original, original.with_values(TRUTH - trace))
    assert found.verdict is Verdict.GREEN


@pytest.mark.parametrize("sigma_px", [0.8, 1.5])
def test_blurred_anatomy_is_red(sigma_px):
    original = noisy(2)
    blurred = original.with_values(gaussian_filter(original.values, (0, sigma_px, sigma_px)))
    found = residual_structure(original, blurred)
    assert found.verdict is Verdict.RED
    assert "anatomy" in found.sentence
    assert "less strength" in found.sentence


def test_erased_trabeculae_are_red_and_the_heat_map_points_at_them():
    original = noisy(3)
    erased = np.where(MARROW, gaussian_filter(TRUTH, (0, 3, 3)), TRUTH)
    found = residual_structure(original, original.with_values(erased))
    assert found.verdict is Verdict.RED
    assert found.findings[2].name == "slice_coherence"
    assert found.findings[2].failed
    near = gaussian_filter(MARROW.astype(float), (0, 8, 8)) > 0.05
    assert sum(near[kji] for kji, _ in found.worst_blocks(5)) >= 4
    heat = found.heat_volume(original)
    assert heat.geometry == original.geometry
    assert heat.values[MARROW].mean() > 2 * heat.values[~near].mean()


def test_invented_texture_is_noticed():
    original = noisy(4)
    invented = original.with_values(TRUTH + 2.0 * ct_noise(TRUTH.shape, 99))
    found = residual_structure(original, invented)
    assert next(f for f in found.findings if f.name == "power").failed
    assert found.verdict is not Verdict.GREEN


def test_shifted_region_is_red():
    original = noisy(5)
    shifted = TRUTH.copy()
    shifted[4:8, 64:80, 96:112] += 30
    assert residual_structure(original, original.with_values(shifted)).verdict is Verdict.RED


def test_same_seed_same_answer_and_plain_json():
    original = noisy(6)
    answers = [residual_structure(original, original.with_values(TRUTH)) for _ in range(2)]
    texts = [json.dumps(a.to_json(), allow_nan=False) for a in answers]
    assert texts[0] == texts[1]
    assert np.array_equal(answers[0].heat, answers[1].heat)


def test_one_slice_is_judged_without_its_neighbours():
    original = noisy(7).crop((slice(0, 1), slice(None), slice(None)))
    clean = original.with_values(TRUTH[:1])
    found = residual_structure(original, clean)
    assert found.verdict is Verdict.GREEN
    assert "one slice" in found.findings[2].why_not
    blurred = original.with_values(gaussian_filter(original.values, (0, 2, 2)))
    assert residual_structure(original, blurred).verdict is Verdict.RED


def test_nothing_removed_or_too_small_is_not_measurable():
    original = noisy(8)
    assert "0 blocks" in residual_structure(original, original).why_not
    tiny = original.crop((slice(0, 2), slice(0, 12), slice(0, 12)))
    assert residual_structure(tiny, tiny).to_measure().value is None


def test_padding_and_clipped_air_do_not_count_as_anatomy():
    values = noisy(9).values.copy()
    values[:, :, :20] = -3024
    values[(TRUTH < -900) & (values < -1000) & (values > -2000)] = -1000
    original = volume(values)
    restored = np.where(values == -3024, values, TRUTH)
    assert residual_structure(original, volume(restored)).verdict is Verdict.GREEN


def test_drift_is_measured_per_tissue_with_its_error():
    original = noisy(10)
    restored = original.with_values(TRUTH + np.where(TRUTH < -60, 3.0, 0.2).astype(np.float32))
    found = {d.tissue: d for d in hu_drift(original, restored)}
    assert found["fat"].verdict is Verdict.RED
    assert found["fat"].drift_hu == pytest.approx(3, abs=0.6)
    assert found["soft tissue"].verdict is Verdict.GREEN
    assert abs(found["soft tissue"].drift_hu - 0.2) < 4 * found["soft tissue"].se_hu
    assert 0 < found["soft tissue"].se_hu < 0.5


def test_slope_tells_scaled_contrast_from_removed_noise():
    original = noisy(11)
    assert regression_slope(original, original.with_values(TRUTH)).verdict is Verdict.GREEN
    scaled = regression_slope(original, original.with_values(TRUTH * 0.95))
    assert scaled.verdict is Verdict.RED
    assert scaled.value == pytest.approx(0.95, abs=0.005)


def test_one_slice_of_grey_values_is_answered_in_words():
    geometry = VolumeGeometry.from_spacing((1, 40, 40), (0.01, 0.01, 0.01))
    grey = Volume(np.random.default_rng(0).normal(100, 5, (1, 40, 40)), geometry, Unit.GREY)
    flat = grey.with_values(np.full(grey.shape, 100.0))
    assert residual_structure(grey, flat).why_not
