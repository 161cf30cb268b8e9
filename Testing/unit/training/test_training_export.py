"""Weights written as safetensors and ONNX are those of the network, and say so when not."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.core.errors import WeightsError  # noqa: E402
from ctrestorelib.networks.residual_unet import ResidualUNet  # noqa: E402
from ctrestorelib.training.export import export_onnx, load_weights, save_weights  # noqa: E402


@pytest.fixture
def trained():
    """Return a small network whose head is no longer zero."""
    torch.manual_seed(1)
    network = ResidualUNet(4)
    torch.nn.init.normal_(network.head.weight, std=0.3)
    return network.to(memory_format=torch.channels_last)


def test_weights_come_back_with_their_network(trained, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(trained, path, steps=7)
    first = path.read_bytes()
    save_weights(trained, path, steps=7)
    assert path.read_bytes() == first  # the same weights have the same SHA-256
    loaded = load_weights(path)
    assert isinstance(loaded, ResidualUNet)
    assert (loaded.width, loaded.slices, loaded.training) == (4, 5, False)
    for name, value in trained.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_weights_that_do_not_fit_are_refused(trained, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(trained, path)
    with pytest.raises(WeightsError, match="do not fit"):
        load_weights(path, ResidualUNet(8))
    save_weights(torch.nn.Linear(2, 2), path)
    with pytest.raises(WeightsError, match="Linear"):
        load_weights(path)
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(path)


def test_onnx_computes_what_torch_does_at_any_size(trained, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "n.onnx"
    assert export_onnx(trained, path) < 1e-5
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    stack = rng.normal(0, 3, (2, 5, 64, 32)).astype(np.float32)
    context = rng.uniform(-1, 1, (2, 2, 64, 32)).astype(np.float32)
    mean, log_scale = session.run(["mean", "log_scale"], {"stack": stack, "context": context})
    with torch.no_grad():
        expected = trained(torch.from_numpy(stack), torch.from_numpy(context))
    np.testing.assert_allclose(mean, expected[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(log_scale, expected[1].numpy(), atol=1e-5)
    assert np.abs(mean).max() > 0.01


def test_an_export_that_differs_is_not_written(trained, tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(WeightsError, match="differs"):
        export_onnx(trained, tmp_path / "n.onnx", tolerance=0.0)
    assert list(tmp_path.iterdir()) == []
