"""The volume network: size, zero start, locality, any shape, export."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from ctrestorelib.networks.volume_unet import FIRST_LOG_SCALE, VolumeUNet  # noqa: E402


def shaken(seed=0, **options):
    """Return a small network whose weights are all at work."""
    torch.manual_seed(seed)
    network = VolumeUNet(**{"width": 8, "levels": 2, **options}).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize(
    ("width", "levels", "count"), [(16, 3, 391_096), (24, 3, 838_608), (32, 4, 5_725_032)]
)
def test_sizes(width, levels, count):
    network = VolumeUNet(width=width, levels=levels)
    assert sum(p.numel() for p in network.parameters()) == count


def test_an_untrained_network_changes_nothing():
    mean, log_scale = VolumeUNet(width=8, levels=3)(torch.randn(2, 5, 16, 16, 16), torch.ones(2, 6))
    assert mean.shape == log_scale.shape == (2, 1, 16, 16, 16)
    assert not mean.any()
    assert bool((log_scale == FIRST_LOG_SCALE).all())


def test_any_size_goes_in_and_comes_out():
    network = shaken(levels=3)
    seen, about = torch.randn(1, 5, 13, 9, 18), torch.randn(1, 6)
    with torch.no_grad():
        mean, _ = network(seen, about)
        filled = torch.nn.functional.pad(seen, (0, 6, 0, 7, 0, 3), mode="replicate")
        whole, _ = network(filled, about)
    assert mean.shape == (1, 1, 13, 9, 18)
    torch.testing.assert_close(mean, whole[:, :, :13, :9, :18])


def test_a_single_slice_goes_in():
    with torch.no_grad():
        mean, _ = shaken()(torch.randn(1, 5, 1, 12, 10), torch.zeros(1, 6))
    assert mean.shape == (1, 1, 1, 12, 10)
    assert bool(torch.isfinite(mean).all())


def test_a_part_gets_the_same_answer_away_from_its_border():
    network, about = shaken(), torch.randn(1, 6)
    seen = torch.randn(1, 5, 64, 16, 16)
    reach, step = 24, network.multiple  # two levels of convolutions look no farther
    with torch.no_grad():
        whole, _ = network(seen, about)
        part, _ = network(seen[:, :, step : step + 56], about)
    inner = slice(reach, 56 - reach)
    torch.testing.assert_close(
        part[:, :, inner], whole[:, :, step:][:, :, inner], atol=1e-5, rtol=1e-4
    )
    assert (part[:, :, 0] - whole[:, :, step]).abs().max() > 1e-3  # the border is felt there


def test_the_scan_steers_the_answer():
    network, seen = shaken(), torch.randn(1, 5, 8, 8, 8)
    with torch.no_grad():
        one, _ = network(seen, torch.zeros(1, 6))
        other, _ = network(seen, torch.ones(1, 6))
    assert (one - other).abs().max() > 1e-3


def test_sizes_that_make_no_network_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        VolumeUNet(levels=0)


def test_the_exported_network_takes_other_sizes(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from ctrestorelib.core.errors import WeightsError
    from ctrestorelib.training.sparse_view.export import export_volume_onnx

    path = tmp_path / "volume.onnx"
    assert export_volume_onnx(shaken(), path) < 1e-4
    assert path.stat().st_size > 1000
    with pytest.raises(WeightsError, match="differs"):
        export_volume_onnx(shaken(), tmp_path / "no.onnx", tolerance=-1.0)
    assert not (tmp_path / "no.onnx").exists()
