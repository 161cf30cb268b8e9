"""Adaptation to one scan: right examples, kept only where held-out slices get better."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.ndimage import gaussian_filter  # noqa: E402

from ctrestorelib.core.errors import Cancelled, InputError, UsageError  # noqa: E402
from ctrestorelib.core.job import Job  # noqa: E402
from ctrestorelib.core.units import Unit  # noqa: E402
from ctrestorelib.core.volume import Volume, VolumeGeometry  # noqa: E402
from ctrestorelib.networks.residual_unet import ResidualUNet  # noqa: E402
from ctrestorelib.quality.sigma_map import SigmaMap  # noqa: E402
from ctrestorelib.training.adaptation import (  # noqa: E402
    AdaptationSettings,
    adapt,
    chance,
    free_last_levels,
    independent_step,
    split_slices,
)
from ctrestorelib.training.adaptation_crops import Place, VolumeCrops  # noqa: E402
from ctrestorelib.training.settings import TrainingSettings  # noqa: E402
from ctrestorelib.training.stepper import Stepper  # noqa: E402

SIGMA = 25.0
SHAPE = (28, 48, 48)


def flat_map(shape, level=SIGMA, unit=Unit.HU):
    ends = tuple(np.array([0.0, n - 1.0]) for n in shape)
    return SigmaMap(np.full((2, 2, 2), level, np.float32), ends, shape, unit, "known", 1.0)


def fine_noise(rng, shape=SHAPE, sigma=SIGMA):
    """Noise with some correlation in the plane and none between slices."""
    noise = gaussian_filter(rng.standard_normal(shape), (0, 0.6, 0.6))
    return (noise * (sigma / noise.std())).astype(np.float32)


def anatomy(shape=SHAPE):
    _k, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(np.float32)
    rod = (j - shape[1] * 0.6) ** 2 + (i - shape[2] * 0.4) ** 2 < 60
    return np.where(rod, 300.0, 40.0).astype(np.float32)


def volume_of(values, unit=Unit.HU):
    return Volume(values, VolumeGeometry.from_spacing(values.shape, (1, 1, 1)), unit)


@pytest.fixture(scope="module")
def noisy():
    return volume_of(anatomy() + fine_noise(np.random.default_rng(1)))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pretrained():
    """Return a small network that knows white noise, and nothing of anatomy."""
    torch.manual_seed(0)
    network = ResidualUNet(8)
    for part in network.modules():
        convolves = isinstance(part, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
        if convolves and part is not network.head:
            torch.nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
    rng = np.random.default_rng(0)

    def loss(net, batch):
        mean, _ = net(batch["stack"], batch["context"])
        return ((mean - batch["target"]) ** 2).mean(), {}

    plan = TrainingSettings(steps=60, learning_rate=1e-2, warmup_steps=5, ema_decay=0.9)
    stepper = Stepper(network, loss, plan)
    for _ in range(plan.steps):
        noise = torch.from_numpy(rng.standard_normal((4, 5, 32, 32), dtype=np.float32))
        context = torch.zeros(4, 2, 32, 32)
        stepper.step({"stack": noise, "context": context, "target": noise[:, 2:3]})
    return stepper.mean.module.eval()


QUICK = AdaptationSettings(steps=30, batch=2, crop=32, learning_rate=3e-3)


def run(volume, network, draw=fine_noise, rho=(0.0,), settings=QUICK, seed=0, **job):
    return adapt(network, volume, flat_map(volume.shape, unit=volume.unit), draw, rho,
                 settings=settings, job=Job(seed=seed, **job))  # fmt: skip


def test_a_scan_teaches_and_truth_agrees(noisy, pretrained):
    network = pretrained
    before = {name: value.clone() for name, value in network.state_dict().items()}
    result = run(noisy, network)
    assert result.kept, result.why
    assert result.held_out_after < result.held_out_before
    assert "fell by" in result.why
    error = [_rmse(n, noisy.values, anatomy()) for n in (network, result.network)]
    assert error[1] < 0.9 * error[0]
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    for name, value in result.network.state_dict().items():
        frozen = name.startswith(("down.", "up.2", "merge.2"))
        assert frozen == torch.equal(value, before[name]), name


def _rmse(network, noisy, truth):
    crops = VolumeCrops(volume_of(noisy), flat_map(noisy.shape), 48)
    errors = []
    for k in range(4, 24, 4):
        seen = crops.plain(Place(k, 0, 0))
        with torch.no_grad():
            mean, _ = network(torch.from_numpy(seen["stack"])[None],
                              torch.from_numpy(seen["context"])[None])  # fmt: skip
        errors.append(noisy[k] - mean[0, 0].numpy() * SIGMA - truth[k])
    return float(np.sqrt(np.mean(np.square(errors))))


def test_the_same_seed_gives_the_same_network(noisy, pretrained):
    short = AdaptationSettings(steps=4, batch=2, crop=32, learning_rate=1e-2, significance=0.999)
    state = torch.random.get_rng_state()
    first, again, other = (run(noisy, pretrained, settings=short, seed=s) for s in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.held_out_after == again.held_out_after != other.held_out_after
    for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_adaptation_without_gain_is_not_kept(noisy, pretrained):
    idle = AdaptationSettings(steps=2, batch=2, crop=32, learning_rate=1e-12)
    result = run(noisy, pretrained, settings=idle)
    assert not result.kept
    assert result.network is pretrained
    assert "more than chance" in result.why


def test_noise_that_looks_like_anatomy_is_found_out_by_neighbours(pretrained):
    def wrong(rng, shape=SHAPE):
        blobs = gaussian_filter(rng.standard_normal(shape), (0, 4, 4))
        return (blobs * (3 * SIGMA / blobs.std())).astype(np.float32)

    structured = volume_of(anatomy() + 200 * np.sin(np.arange(48) / 4).astype(np.float32)
                           + 0.2 * fine_noise(np.random.default_rng(2)))  # fmt: skip
    plan = AdaptationSettings(steps=30, batch=2, crop=32, learning_rate=3e-3, neighbour_weight=0.0,
                              anchor_weight=0.0)  # fmt: skip
    assert run(structured, pretrained, wrong, (), plan).kept  # nothing tells it otherwise
    result = run(structured, pretrained, wrong, settings=plan)
    assert not result.kept
    assert "not predicted better" in result.why


def test_progress_is_reported_and_cancel_obeyed(noisy, pretrained):
    events, asked = [], []

    def stop():
        asked.append(1)
        return len(asked) > 90

    with pytest.raises(Cancelled):
        run(noisy, pretrained, emit=events.append, is_cancelled=stop)
    fractions = [event["fraction"] for event in events if event["kind"] == "progress"]
    assert 0 < fractions[-1] < 1
    assert fractions == sorted(fractions)


def test_too_few_slices_are_left_alone(noisy, pretrained):
    result = run(volume_of(noisy.values[:6].copy()), pretrained)
    assert not result.kept
    assert "too few slices" in result.why
    assert np.isnan(result.held_out_before)


def test_noise_and_map_must_fit_the_volume(noisy, pretrained):
    with pytest.raises(InputError, match="Noise of shape"):
        run(noisy, pretrained, draw=lambda rng: fine_noise(rng, (28, 48, 40)))
    with pytest.raises(InputError, match="noise map"):
        VolumeCrops(noisy, flat_map((28, 48, 40)), 32)
    with pytest.raises(InputError, match="32 x 32"):
        VolumeCrops(volume_of(np.zeros((9, 20, 48), np.float32)), flat_map((9, 20, 48)), 32)
    with pytest.raises(UsageError):
        AdaptationSettings(amount=0.0)
    with pytest.raises(UsageError):
        AdaptationSettings(crop=16)


def test_slices_that_judge_take_no_part_in_teaching():
    for slices in (8, 13, 40, 100, 301):
        teach, judge = split_slices(slices, 0.2)
        assert len(judge) >= 3
        assert len(teach) >= 3
        assert not set(teach) & set(judge)
        assert max(judge) < slices
    teach, judge = split_slices(100, 0.2)
    assert min(abs(t - j) for t in teach for j in judge) > 3
    assert 0.1 < len(judge) / 100 < 0.3
    assert split_slices(7, 0.2)[1] == []


def test_only_the_last_two_levels_are_free():
    network = ResidualUNet(4)
    free_last_levels(network)
    free = {name.rsplit(".", 1)[0] for name, p in network.named_parameters() if p.requires_grad}
    assert free == {"up.0", "up.1", "merge.0.0", "merge.0.2", "merge.1.0", "merge.1.2", "head"}


def test_a_recorrupted_example_has_the_noise_of_its_formula(noisy):
    crops = VolumeCrops(noisy, flat_map(SHAPE), 48)
    crops.prepare_noise(fine_noise, np.random.default_rng(3))
    amount = 0.5
    level = SIGMA * np.sqrt(1 + amount**2)
    made = crops.recorrupted(Place(9, 0, 0), amount, np.random.default_rng(4))
    added = made["stack"][2] * level - noisy.values[9]  # a n'
    np.testing.assert_allclose(made["target"][0] * level, added * (1 + 1 / amount**2), atol=0.1)
    assert np.std(added) == pytest.approx(amount * SIGMA, rel=0.1)
    np.testing.assert_allclose(made["context"][1], np.log2(level / 20), atol=1e-5)


@pytest.mark.parametrize("correlated", [False, True])
def test_recorrupted_noise_has_all_of_the_scans_noise_as_best_guess(correlated):
    """In a volume of nothing but noise, the best predictor of the target is the input itself."""

    def draw(rng, shape=SHAPE):
        noise = fine_noise(rng, (shape[0] + 1, *shape[1:]))
        noise = noise[1:] + noise[:-1] if correlated else noise[1:]
        return noise * np.float32(SIGMA / noise.std())

    crops = VolumeCrops(volume_of(draw(np.random.default_rng(5))), flat_map(SHAPE), 48)
    crops.prepare_noise(draw, np.random.default_rng(6))
    rng = np.random.default_rng(7)
    made = [crops.recorrupted(Place(k, 0, 0), 0.5, rng) for k in range(28) for _ in range(4)]
    target = np.stack([m["target"][0] for m in made]).ravel()
    seen = np.stack([m["stack"][1:4].reshape(3, -1) for m in made], 1).reshape(3, -1)
    slopes = np.linalg.lstsq(seen.T, target, rcond=None)[0]
    np.testing.assert_allclose(slopes, (0, 1, 0), atol=0.05)


def test_a_neighbour_example_shows_nothing_on_the_targets_side():
    values = np.repeat(100.0 * np.arange(12, dtype=np.float32), 32 * 32).reshape(12, 32, 32)
    crops = VolumeCrops(volume_of(values), flat_map((12, 32, 32), 10.0), 32)
    for toward, shown in ((1, [4, 5, 6, 5, 4]), (-1, [8, 7, 6, 7, 8])):
        made = crops.neighbour(Place(6, 0, 0, toward), step=2, rho=0.0)
        np.testing.assert_allclose(made["stack"][:, 0, 0], np.array(shown) * 10.0)
        assert made["target"][0, 0, 0] == pytest.approx(-toward * 20.0)
        beyond = crops.beyond(Place(6, 0, 0, toward), step=4)
        np.testing.assert_allclose(beyond["stack"][:, 0, 0], np.arange(4, 9) * 10.0)
        assert beyond["target"][0, 0, 0] == pytest.approx(-toward * 40.0)


def test_the_correction_takes_shared_noise_out_of_the_target():
    """The best guess of the corrected target from the slice's own noise is that noise, whole."""
    rng = np.random.default_rng(8)
    own, other = rng.normal(0, 10, (2, 1, 64, 64)).astype(np.float32)
    rho = 0.4
    values = np.concatenate([own, rho * own + np.sqrt(1 - rho**2) * other])
    crops = VolumeCrops(volume_of(np.repeat(values, 1, 0)), flat_map((2, 64, 64), 10.0), 64)
    for assumed, slope in ((rho, 1.0), (0.0, 1 - rho)):
        made = crops.neighbour(Place(0, 0, 0, 1), 1, assumed)
        seen = made["stack"][2].ravel()
        found = float(seen @ made["target"].ravel() / (seen @ seen))
        assert found == pytest.approx(slope, abs=0.05)


def test_places_show_material_and_have_a_target():
    values = np.full((10, 64, 96), -1000.0, np.float32)
    values[:, 32:, :48] = 40.0
    values[:, 0, 0] = -3024.0
    crops = VolumeCrops(volume_of(values), flat_map((10, 64, 96)), 32)
    places = crops.places(range(10), 2)
    assert {p.k for p in places} == set(range(10))
    assert all((values[p.k, p.j : p.j + 32, p.i : p.i + 32] > 0).mean() > 0.2 for p in places)
    assert all(0 <= p.k + 2 * p.toward < 10 for p in places)
    assert (0, 0) not in {(p.j, p.i) for p in places}


def test_grey_values_and_attenuation_are_seen_as_a_denoiser_sees_them(noisy):
    grey = VolumeCrops(volume_of(noisy.values, Unit.GREY), flat_map(SHAPE, unit=Unit.GREY), 32)
    assert not grey.plain(Place(5, 0, 0))["context"].any()
    mu_water = 0.0192
    mu = ((noisy.values / 1000.0) + 1.0) * mu_water
    level = SIGMA / 1000.0 * mu_water
    per_mm = VolumeCrops(volume_of(mu.astype(np.float32), Unit.PER_MM),
                         flat_map(SHAPE, level, Unit.PER_MM), 32)  # fmt: skip
    hu = VolumeCrops(noisy, flat_map(SHAPE), 32)
    for name, value in hu.plain(Place(5, 8, 8)).items():
        np.testing.assert_allclose(per_mm.plain(Place(5, 8, 8))[name], value, rtol=0.01, atol=0.02)


def test_the_first_slice_with_other_noise_is_found():
    assert independent_step((0.5, 0.2, 0.05)) == 3
    assert independent_step((0.0,)) == 1
    assert independent_step((0.7, 0.4)) is None
    assert independent_step(()) is None


def test_chance_is_small_only_for_steady_gains():
    rng = np.random.default_rng(0)
    assert chance(0.5 + 0.1 * rng.standard_normal(10)) < 1e-4
    assert chance(rng.standard_normal(10) * 0.1 - 0.5) > 0.99
    assert chance(np.array([0.1, 0.2])) == 1.0
