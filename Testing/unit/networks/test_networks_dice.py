"""DiCE has the published size, sees any geometry rightly, and freezes what must not move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ctrestorelib.core.errors import GeometryError  # noqa: E402
from ctrestorelib.core.volume import VolumeGeometry  # noqa: E402
from ctrestorelib.geometry.frames import equal_angles, patient_to_gantry  # noqa: E402
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry  # noqa: E402
from ctrestorelib.networks.dice import (  # noqa: E402
    COMPACT,
    FULL,
    CubeFrame,
    DiceNetwork,
    DiceSettings,
    parameter_counts,
)
from ctrestorelib.networks.dice.codebook import Codebook, nearest_code  # noqa: E402
from ctrestorelib.networks.dice.lifting import (  # noqa: E402
    cube_centres,
    on_detectors,
    read_cube,
    read_strongest,
    read_views,
)

TINY = DiceSettings(widths=(3, 4), pixels=16, grid=5, codes=8, channels=6, hidden=(8, 4))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    yield
    torch.set_num_threads(before)


def scan(views=3, **changes):
    given = {"sod_mm": 80.0, "sdd_mm": 120.0, "angles_rad": equal_angles(views, 200.0, 17.0),
             "detector_shape": (16, 16), "pixel_mm": (3.0, 3.0)}  # fmt: skip
    return ConeBeamGeometry.circular(**{**given, **changes})


# -- size ---------------------------------------------------------------------------------------
def test_every_part_has_the_published_number_of_parameters():
    counts = parameter_counts(DiceNetwork(replace(FULL, published_head=True), denoise=True))
    assert counts == {
        "encoder": 313_680, "codebooks": 291_808, "volume_decoder": 5_257_344,
        "point_decoder": 178_587, "cleaners": 1_176_480, "total": 7_217_899,
    }  # fmt: skip
    assert counts["total"] - counts["cleaners"] == 6_041_419


def test_every_block_has_the_published_number_of_parameters():
    network = DiceNetwork(FULL, denoise=True)

    def size(part):
        return sum(p.numel() for p in part.parameters())

    assert size(network.encoder.stem) == 192
    assert [size(s) for s in network.encoder.stages] == [15_088, 59_872, 238_528]
    decoder = [size(s) for s in network.volume_decoder.stages]
    assert decoder == [885_504, 1_549_440, 1_438_848, 1_383_552]
    assert [size(c) for c in network.cleaners] == [885_504, 221_568, 55_488, 13_920]
    books = [size(b) + 2 * b.codes.numel() + b.counts.numel() for b in network.codebooks]
    assert books == [164_608, 74_368, 35_392, 17_440]


def test_without_the_slip_of_the_last_layer_two_parameters_are_gone():
    assert parameter_counts(DiceNetwork(FULL))["total"] == 6_041_419 - 2


def test_the_compact_network_is_a_sixth_of_the_full_one():
    assert parameter_counts(DiceNetwork(COMPACT))["total"] < 6_041_419 / 5


def test_sizes_survive_json_and_wrong_ones_are_refused():
    assert DiceSettings.from_json(COMPACT.to_json()) == COMPACT
    with pytest.raises(ValueError, match="multiple"):
        DiceSettings(pixels=100)


# -- geometry -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [{}, {"offset_mm": (4.0, -11.0)}, {"tilt_rad": (0.1, -0.05, 0.2)}, {"beam": Beam.PARALLEL},
     {"detector_shape": (10, 24), "pixel_mm": (5.0, 2.0)},
     {"world_to_gantry": patient_to_gantry((5.0, -3.0, 8.0))}],
)  # fmt: skip
def test_points_fall_where_the_scan_geometry_says(changes):
    geometry = scan(**changes)
    frame = CubeFrame.about_isocentre(geometry, 60.0)
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    world = points @ frame.world_from_cube[:3, :3].T + frame.world_from_cube[:3, 3]
    np.testing.assert_allclose(frame.to_cube(world), points, atol=1e-9)
    rows, cols = geometry.detector_shape
    expected = (geometry.project(world) + 0.5) * 2 / (cols, rows) - 1
    found = on_detectors(
        torch.from_numpy(points)[None].float(), torch.from_numpy(frame.matrices(geometry))[None]
    )
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-5)


def test_the_cube_of_a_patients_scan_is_the_cube_of_its_grid():
    grid = VolumeGeometry.from_spacing((8, 8, 8), (2.0, 2.0, 2.0))
    of_grid = CubeFrame.of_grid(grid)
    about = CubeFrame.about_isocentre(scan(world_to_gantry=patient_to_gantry()), 16.0)
    np.testing.assert_allclose(of_grid.world_from_cube, about.world_from_cube, atol=1e-12)
    assert of_grid.edge_mm == pytest.approx(16.0)
    centres = of_grid.to_cube(grid.to_world([(0, 0, 0), (7, 0, 0), (0, 0, 1)]))
    expected = cube_centres(8)[[0, 7, 64]].numpy()
    np.testing.assert_allclose(centres, expected, atol=1e-6)


def test_a_frame_that_is_no_cube_is_refused():
    with pytest.raises(GeometryError, match="cube"):
        CubeFrame.of_grid(VolumeGeometry.from_spacing((8, 8, 4), (1.0, 1.0, 1.0)))


def test_a_point_behind_the_source_is_on_no_detector():
    frame = CubeFrame.about_isocentre(scan(1, angles_rad=[0.0]), 2.0)
    behind = torch.tensor([[[0.0, -100.0, 0.0]]])  # 100 mm to the front, the source is at 80
    at = on_detectors(behind, torch.from_numpy(frame.matrices(scan(1, angles_rad=[0.0])))[None])
    assert bool((at.abs() > 2).all())


# -- reading features ---------------------------------------------------------------------------
def test_pixel_centres_read_their_pixel_and_nothing_lies_outside():
    features = torch.rand(1, 2, 3, 4, 6)
    at = torch.tensor([[-1 + 1 / 6, -1 + 1 / 4], [1 - 1 / 6, 1 - 1 / 4], [0.0, 1.3]])
    read = read_views(features, at.expand(1, 2, 3, 2))
    torch.testing.assert_close(read[..., 0], features[..., 0, 0])
    torch.testing.assert_close(read[..., 1], features[..., -1, -1])
    assert float(read[..., 2].abs().max()) == 0.0
    strongest = read_strongest(features, at.expand(1, 2, 3, 2))
    torch.testing.assert_close(strongest, read.amax(1))


def test_voxel_centres_read_their_voxel_and_the_border_goes_on():
    features = torch.rand(1, 2, 4, 4, 4)
    read = read_cube(features, cube_centres(4)[None])
    torch.testing.assert_close(read, features.flatten(2))
    corner = read_cube(features, torch.full((1, 1, 3), -1.0))
    torch.testing.assert_close(corner[..., 0], features[..., 0, 0, 0])


def test_a_bright_point_is_found_where_all_views_see_it():
    """Back-projected shadows of a small ball meet at the ball: the lifting has the right sense."""
    geometry = scan(9, detector_shape=(64, 64), pixel_mm=(1.5, 1.5))
    frame = CubeFrame.about_isocentre(geometry, 60.0)
    ball = np.array([0.4, -0.3, 0.2])
    uv = geometry.project(ball @ frame.world_from_cube[:3, :3].T + frame.world_from_cube[:3, 3])
    rows, cols = np.mgrid[:64, :64]
    shadows = np.exp(-((cols - uv[:, 0, None, None]) ** 2 + (rows - uv[:, 1, None, None]) ** 2) / 8)
    matrices = torch.from_numpy(frame.matrices(geometry))[None]
    at = on_detectors(cube_centres(20)[None], matrices)
    read = read_views(torch.from_numpy(shadows).float()[None, :, None], at).sum(1)
    best = cube_centres(20)[int(read.argmax())].numpy()
    assert np.abs(best - ball).max() <= 0.1


# -- vector quantisation ------------------------------------------------------------------------
def clusters(spread=0.01):
    """Return features [1, 2, 6, 6, 6] in four groups, and the groups' centres."""
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [5.0, 5.0]])
    flat = centres.repeat(54, 1) + spread * torch.randn(216, 2)
    return flat.T.reshape(1, 2, 6, 6, 6), centres


def plain(codes):
    """Return a codebook whose two convolutions do nothing."""
    book = Codebook(2, codes)
    for conv in (book.before, book.after):
        torch.nn.init.eye_(conv.weight.data[:, :, 0, 0, 0])
        torch.nn.init.zeros_(conv.bias)
    return book


def test_codes_begin_at_the_centres_of_the_features():
    features, centres = clusters()
    book = plain(8)
    found = book(features)
    near = nearest_code(centres, book.codes)
    assert float((book.codes[near] - centres).norm(dim=1).max()) < 0.1
    assert float(found.loss.detach()) < 0.01
    torch.testing.assert_close(found.values, features, atol=0.2, rtol=0)


def test_codes_follow_features_that_move():
    features, centres = clusters()
    book = plain(8)
    for step in range(300):
        book(features + 0.01 * step)
    moved = centres + 2.99  # a mean over about 100 steps is some 100 x 0.01 behind in x and in y
    assert float((book.codes[nearest_code(moved, book.codes)] - moved).norm(dim=1).max()) < 1.5


def test_a_dead_code_starts_again_at_a_current_feature():
    features, _ = clusters()
    book = plain(8)
    book(features)
    book.codes[3], book.counts[3], book.sums[3] = 1e3, 0.0, 0.0
    book(features)
    flat = features.flatten(2)[0].T
    assert float((flat - book.codes[3]).norm(dim=1).min()) < 1e-2
    assert float(book.counts[3]) > 1.0


def test_nothing_changes_in_evaluation():
    features, _ = clusters()
    book = plain(8)
    book(features)
    before = {k: v.clone() for k, v in book.state_dict().items()}
    book.eval()(features + 9)
    assert all(torch.equal(v, before[k]) for k, v in book.state_dict().items())


def test_gradients_pass_as_if_nothing_was_replaced_and_distances_are_float32():
    features, _ = clusters()
    book = plain(8)
    features.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = book(features)
    found.values.float().sum().backward()
    torch.testing.assert_close(features.grad, torch.ones_like(features))
    assert found.loss.dtype == torch.float32
    # Two codes closer than bfloat16 can tell apart.
    codes = torch.tensor([[100.0, 0.0], [100.1, 0.0]])
    assert nearest_code(torch.tensor([[100.08, 0.0]]), codes).tolist() == [1]


# -- the network --------------------------------------------------------------------------------
def example(views=5, batch=2, points=30):
    geometry = scan(views)
    matrices = CubeFrame.about_isocentre(geometry, 30.0).matrices(geometry)
    return (
        torch.rand(batch, views, 16, 16),
        torch.from_numpy(matrices).expand(batch, -1, -1, -1),
        torch.rand(batch, points, 3) * 2 - 1,
    )


@pytest.mark.parametrize("denoise", [False, True])
def test_seeing_and_decoding_is_the_forward_pass_of_evaluation(denoise):
    projections, matrices, points = example(batch=1)
    start = DiceNetwork(TINY)
    start(projections, matrices, points, 5)
    network = DiceNetwork(TINY, denoise=denoise)
    network.load_state_dict(start.state_dict(), strict=False)
    network.eval()
    with torch.no_grad():
        expected = network(projections, matrices, points, 5).values
    seen = network.see(projections, matrices)
    torch.testing.assert_close(network.decode(seen, matrices, points), expected)


def test_points_look_at_the_near_views_only_and_the_volume_at_all():
    projections, matrices, points = example(batch=1)
    network = DiceNetwork(TINY)
    network(projections, matrices, points, 5)
    network.eval()
    other = projections.clone()
    other[:, 4] = 0.0
    with torch.no_grad():
        near, far = (network(p, matrices, points, 3).values for p in (projections, other))
        assert not torch.equal(near, far)  # through the volume
        for book in network.codebooks:
            torch.nn.init.zeros_(book.after.weight)  # no scan reaches the volume any more
        near, far = (network(p, matrices, points, 3).values for p in (projections, other))
        assert torch.equal(near, far)
        assert not torch.equal(near, network(other, matrices, points, 5).values)


def test_the_order_of_views_does_not_matter():
    projections, matrices, points = example(batch=1)
    network = DiceNetwork(TINY)
    network(projections, matrices, points, 5)
    network.eval()
    turned = [3, 0, 4, 2, 1]
    with torch.no_grad():
        one = network(projections, matrices, points, 5).values
        two = network(projections[:, turned], matrices[:, turned], points, 5).values
    torch.testing.assert_close(one, two)


def test_with_denoise_layers_the_parts_before_them_are_frozen():
    projections, matrices, points = example()
    start = DiceNetwork(TINY)
    start(projections, matrices, points, 3)
    network = DiceNetwork(TINY, denoise=True)
    network.load_state_dict(start.state_dict(), strict=False)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network.train()
    out = network(projections, matrices, points, 2)
    (out.values.square().mean() + out.denoising).backward()
    assert float(out.denoising.detach()) > 0
    assert float(out.quantisation) == 0
    for name, tensor in network.state_dict().items():
        if name.startswith(("encoder", "codebooks")):
            assert torch.equal(tensor, before[name]), name
    trained = {n.split(".")[0] for n, p in network.named_parameters() if p.grad is not None}
    assert trained == {"cleaners", "volume_decoder", "point_decoder"}


def test_with_all_views_nothing_is_left_to_denoise_but_the_cleaners_own_doing():
    projections, matrices, points = example()
    network = DiceNetwork(TINY, denoise=True).eval()
    network.cleaners = torch.nn.ModuleList(torch.nn.Identity() for _ in network.cleaners)
    with torch.no_grad():
        assert float(network(projections, matrices, points, 5).denoising) == 0
        assert float(network(projections, matrices, points, 2).denoising) >= 0
