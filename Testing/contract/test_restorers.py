"""The contract that every registered method keeps, whoever wrote it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, DoesNotFit, InputError
from ctrestorelib.core.job import Job
from ctrestorelib.core.params import fields_of, params_from, params_to_json, schema_of
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.jobs.execute import execute
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.methods.registry import all_methods
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Estimate
from ctrestorelib.restorer.spec import Kind

METHODS = all_methods()
ROOMY = Budget(host_bytes=8 * 2**30, threads=2)
every_method = pytest.mark.parametrize("restorer", METHODS.values(), ids=METHODS.keys())
every_denoiser = pytest.mark.parametrize(
    "restorer",
    [r for r in METHODS.values() if r.spec.kind is Kind.DENOISER],
    ids=[i for i, r in METHODS.items() if r.spec.kind is Kind.DENOISER],
)
every_reconstructor = pytest.mark.parametrize(
    "restorer",
    [r for r in METHODS.values() if r.spec.kind is Kind.RECONSTRUCTOR],
    ids=[i for i, r in METHODS.items() if r.spec.kind is Kind.RECONSTRUCTOR],
)


def run(restorer, inputs, job=None, **changes):
    request = JobRequest(method_id=restorer.spec.id, inputs=inputs, **changes)
    return execute(request, ROOMY, job or Job())


@dataclass
class Watched:
    """An undisturbed run with the method's own settings, and what was seen meanwhile."""

    estimate: Estimate
    events: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    input_kept: bool = False


@pytest.fixture(scope="module")
def watched(inputs_for):
    """Return a function from a method to its usual run; each method makes that only once."""

    @cache
    def run_once(method_id: str) -> Watched:
        inputs = inputs_for(METHODS[method_id])
        found = (inputs.volume, inputs.projections, inputs.prior)
        arrays = [v.values for v in found if v is not None]
        before = [a.copy() for a in arrays]
        for array in arrays:
            array.setflags(write=False)
        events, asked = [], []
        job = Job(emit=events.append, is_cancelled=lambda: bool(asked.append(1)), seed=5)
        estimate = run(METHODS[method_id], inputs, job)
        estimate.volume.values.setflags(write=False)
        kept = all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))
        return Watched(estimate, events, len(asked), kept)

    return lambda restorer: run_once(restorer.spec.id)


def test_the_classical_methods_are_all_there():
    assert {"nlm", "tv-denoise", "anisotropic-diffusion", "bilateral", "wavelet"} <= set(METHODS)
    assert {"fdk", "sirt", "os-sart", "cgls", "tv", "asd-pocs", "piccs"} <= set(METHODS)


@every_method
def test_spec_is_complete_and_cited(restorer):
    spec = restorer.spec
    assert spec.title
    assert len(spec.summary) > 40
    assert spec.references, "every method names its source"
    for reference in spec.references:
        assert len(reference.text) > 20
    for parameter in fields_of(restorer.Params):
        assert parameter.info.label
        assert parameter.info.doc.endswith(".")
    json.dumps(spec.to_json(restorer.Params))


@every_method
def test_params_survive_json_and_have_a_schema(restorer):
    default = restorer.Params()
    assert params_from(restorer.Params, json.loads(json.dumps(params_to_json(default)))) == default
    names = {f.name for f in fields(restorer.Params)}
    assert set(schema_of(restorer.Params)["properties"]) == names


@every_method
def test_presets_are_valid(restorer):
    for values in restorer.spec.presets.values():
        params_from(restorer.Params, values)


@every_method
def test_plan_is_pure_and_grows_with_size(restorer, inputs_for):
    shapes = inputs_for(restorer).shapes()
    first = restorer.plan(shapes, restorer.Params(), ROOMY)
    assert first == restorer.plan(shapes, restorer.Params(), ROOMY)
    assert sum(stage.share for stage in first.stages) == pytest.approx(1.0, abs=1e-6)
    if shapes.volume is not None:
        larger = replace(shapes, volume=(128, 256, 256))
    else:
        larger = replace(shapes, grid=VolumeGeometry.from_spacing((160, 160, 160), (0.4, 0.4, 0.4)))
    second = restorer.plan(larger, restorer.Params(), ROOMY)
    assert second.peak_host_bytes > first.peak_host_bytes
    assert second.seconds > first.seconds


@every_method
def test_a_tiny_budget_is_refused_with_a_way_out(restorer, inputs_for):
    with pytest.raises(DoesNotFit) as caught:
        restorer.plan(inputs_for(restorer).shapes(), restorer.Params(), Budget(host_bytes=2**20))
    assert "GB" in caught.value.message
    assert caught.value.hint


@every_method
def test_result_grid_unit_inputs_and_progress(restorer, inputs_for, watched):
    inputs, usual = inputs_for(restorer), watched(restorer)
    estimate = usual.estimate
    assert usual.input_kept
    if inputs.volume is not None:
        assert estimate.volume.geometry == inputs.volume.geometry
        assert estimate.volume.unit is inputs.volume.unit
    else:
        assert estimate.volume.geometry == inputs.grid
        assert estimate.volume.unit.value == "hu"
    assert np.isfinite(estimate.volume.values).all()
    json.dumps(estimate.report, default=float)
    fractions = [e["fraction"] for e in usual.events if e["kind"] == "progress"]
    assert len(fractions) > 2
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0, abs=1e-6)


@every_method
def test_same_seed_same_result(restorer, inputs_for, watched):
    again = run(restorer, inputs_for(restorer), Job(seed=5))
    np.testing.assert_array_equal(again.volume.values, watched(restorer).estimate.volume.values)


@every_method
def test_cancel_is_heard_at_any_step(restorer, inputs_for, watched):
    asked = watched(restorer).asked
    assert asked >= 4, "a method must offer several chances to stop it"
    stop_at = int(np.random.default_rng(len(restorer.spec.id)).integers(1, asked))
    remaining = iter([False] * stop_at)
    with pytest.raises(Cancelled):
        run(restorer, inputs_for(restorer), Job(is_cancelled=lambda: next(remaining, True)))


@every_method
def test_not_a_number_is_refused_in_words(restorer, inputs_for):
    inputs = inputs_for(restorer)
    if inputs.volume is not None:
        values = inputs.volume.values.copy()
        values[3, 4, 5] = np.nan
        broken = replace(inputs, volume=inputs.volume.with_values(values))
    else:
        values = inputs.projections.values.copy()
        values[3, 4, 5] = np.nan
        broken = replace(inputs, projections=inputs.projections.replace(values=values))
    with pytest.raises(InputError, match=r"not.*number"):
        run(restorer, broken)


@every_denoiser
@pytest.mark.parametrize("value", [-1000.0, 0.0, 57.0])
def test_a_constant_volume_stays_constant(restorer, volume, inputs_for, value):
    constant = volume.with_values(np.full(volume.shape, value, dtype=np.float32))
    estimate = run(restorer, replace(inputs_for(restorer), volume=constant))
    np.testing.assert_allclose(estimate.volume.values, value, atol=0.01)


@every_denoiser
def test_noise_goes_down_and_the_mean_stays(restorer, volume, watched):
    restored = watched(restorer).estimate.volume.values
    muscle = (slice(4, 28), slice(18, 22), slice(17, 21))
    assert restored[muscle].std() < 0.8 * volume.values[muscle].std()
    assert abs(restored[muscle].mean() - volume.values[muscle].mean()) < 5


@every_denoiser
def test_strength_zero_is_the_original_bit_for_bit(restorer, volume, inputs_for):
    estimate = run(restorer, inputs_for(restorer), strength=0.0)
    np.testing.assert_array_equal(estimate.volume.values, volume.values)


@every_denoiser
def test_half_strength_lies_half_way(restorer, volume, inputs_for, watched):
    full = watched(restorer).estimate.volume.values
    half = run(restorer, inputs_for(restorer), Job(seed=5), strength=0.5).volume.values
    np.testing.assert_allclose(half, (full + volume.values) / 2, atol=1e-3)


@every_denoiser
def test_outside_mask_and_region_nothing_changes(restorer, volume, inputs_for):
    mask = np.zeros(volume.shape, dtype=bool)
    mask[8:20, 10:22, 10:22] = True
    masked = run(restorer, replace(inputs_for(restorer), mask=mask)).volume.values
    np.testing.assert_array_equal(masked[~mask], volume.values[~mask])
    assert (masked[mask] != volume.values[mask]).any()
    region = ((8, 20), (10, 22), (10, 22))
    boxed = run(restorer, inputs_for(restorer), region_kji=region).volume.values
    np.testing.assert_array_equal(boxed[~mask], volume.values[~mask])
    assert (boxed[mask] != volume.values[mask]).any()


@every_denoiser
def test_one_slice_is_enough(restorer, volume, inputs_for):
    single = volume.crop((slice(10, 11), slice(None), slice(None)))
    estimate = run(restorer, replace(inputs_for(restorer), volume=single))
    assert estimate.volume.geometry == single.geometry
    assert np.isfinite(estimate.volume.values).all()


@every_denoiser
def test_padding_is_neither_changed_nor_smeared(restorer, volume, inputs_for):
    values = volume.values.copy()
    values[:, :3, :] = -3024.0
    padded = volume.with_values(values)
    estimate = run(restorer, replace(inputs_for(restorer), volume=padded))
    np.testing.assert_array_equal(estimate.volume.values[:, :3], -3024.0)
    assert estimate.volume.values[:, 3:].min() > -1200


@every_reconstructor
def test_zero_projections_give_an_empty_volume(restorer, projections, inputs_for):
    empty = projections.replace(values=np.zeros_like(projections.values))
    inputs = replace(inputs_for(restorer), projections=empty)
    if inputs.prior is not None:
        inputs = replace(inputs, prior=inputs.prior.with_values(np.zeros(inputs.prior.shape)))
    estimate = run(restorer, inputs)
    np.testing.assert_allclose(estimate.volume.values, -1000.0, atol=1.0)


@every_reconstructor
def test_water_is_water(restorer, watched):
    restored = watched(restorer).estimate.volume.values
    muscle = restored[10:22, 18:22, 17:21]
    assert abs(muscle.mean() - 40) < 60
