"""HorusEye's networks have the published sizes, and keep a slice's shape."""

from __future__ import annotations

import pytest

from ctrestorelib.core.errors import UsageError

torch = pytest.importorskip("torch")

from ctrestorelib.networks.horuseye import ARCHITECTURES, build, parameter_count  # noqa: E402

SMALL = {
    "horuseye-2024-extractor": {"channels": (4, 8, 4)},
    "horuseye-2024-denoiser": {"width": 4},
    "horuseye-compact-extractor": {"width": 4},
    "horuseye-compact-denoiser": {"width": 4},
}


@pytest.mark.parametrize(
    ("name", "millions"),
    [("horuseye-2024-extractor", 7.04), ("horuseye-2024-denoiser", 8.61),
     ("horuseye-2024-denoiser-32", 2.15), ("horuseye-compact-denoiser", 0.48),
     ("horuseye-compact-extractor", 0.48)],
)  # fmt: skip
def test_sizes(name, millions):
    assert parameter_count(name) / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_full_size_pair_has_the_published_size():
    pytest.importorskip("monai")
    for name in ("horuseye-swin-denoiser", "horuseye-swin-extractor"):
        assert parameter_count(name) / 1e6 == pytest.approx(128.88, abs=0.005)
    assert parameter_count(
        "horuseye-swin-denoiser", feature_size=24, depths=(2, 2, 2, 2)
    ) / 1e6 == pytest.approx(6.30, abs=0.01)


@pytest.mark.parametrize("name", SMALL)
def test_a_slice_keeps_its_shape(name):
    torch.manual_seed(0)
    network = build(name, **SMALL[name]).eval()
    seen = torch.rand(2, 2 if ARCHITECTURES[name].role == "extractor" else 1, 48, 64)
    with torch.no_grad():
        out = network(seen)
        alone = network(seen[:1])
    assert out.shape == (2, 1, 48, 64)
    # Slices do not look at each other, not even through a normalisation.
    torch.testing.assert_close(alone, out[:1], atol=1e-5, rtol=1e-4)


def test_the_compact_pair_starts_from_what_it_is_given():
    image = torch.rand(1, 2, 32, 32)
    average = build("horuseye-compact-extractor", width=4)(image)
    torch.testing.assert_close(average, image.mean(1, keepdim=True))
    same = build("horuseye-compact-denoiser", width=4)(image[:, :1])
    torch.testing.assert_close(same, image[:, :1])


def test_the_full_size_denoiser_adds_its_input_and_freezes_its_encoder():
    pytest.importorskip("monai")
    pytest.importorskip("einops")  # monai asks for it when the network runs
    network = build("horuseye-swin-denoiser", feature_size=12, depths=(1, 1, 1, 1)).eval()
    for parameter in network.tail.parameters():
        torch.nn.init.zeros_(parameter)
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(image), image)
    network.freeze_encoder()
    trained = {name.split(".")[1] for name, p in network.named_parameters() if p.requires_grad}
    assert "swinViT" not in trained
    assert "decoder1" in trained


def test_an_unknown_network_is_named():
    with pytest.raises(UsageError, match="huge"):
        build("huge")
