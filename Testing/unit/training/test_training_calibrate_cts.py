"""The script that measures how far the few-view default's own figures can be trusted."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.networks.volume_unet import VolumeUNet  # noqa: E402
from ctrestorelib.recon import tv_pyramid  # noqa: E402
from ctrestorelib.training.export import save_weights  # noqa: E402

SCRIPTS = Path(__file__).resolve().parents[3] / "Scripts" / "training"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("calibrate_cts", SCRIPTS / "calibrate_cts.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["foam", "grating", "ellipsoids", "inverted"])
def test_outside_objects_lie_in_air_and_follow_from_their_seed(script, kind):
    one, again = (script.subject(f"{kind}-003", [], 32) for _ in range(2))
    assert np.array_equal(one.values, again.values)
    assert one.shape == (32, 32, 32)
    assert -1000 <= one.values.min() < one.values.max() <= 4000
    assert float(one.values[:, :2].max()) < -900
    other = script.subject(f"{kind}-004", [], 32)
    assert not np.array_equal(one.values, other.values)


def test_a_scan_is_measured_whole(script, tmp_path, monkeypatch):
    monkeypatch.setattr(tv_pyramid, "COARSE_STEPS", 12)
    torch.manual_seed(2)
    network = VolumeUNet(width=4, levels=2)
    save_weights(network, tmp_path / "cts" / "prior" / "final.safetensors")
    script.measure("foam-001", [], 32, tmp_path / "cts", tmp_path)
    found = script.read(tmp_path / "foam-001.npz")
    # An untrained network proposes nothing, so that nothing is gained and nothing confirmed.
    assert found["share"] in (None, 0.0)
    assert found["rmse_hu"]["1.0"] <= 1.02 * found["rmse_tv_hu"]
    assert found["drawn"].shape[0] == 2
    assert (found["drawn"][1] > 0).all()
    assert "foam-001" in script.table([found])


def test_the_factor_covers_what_it_promises(script):
    rng = np.random.default_rng(5)
    kept = [{"drawn": np.stack([rng.normal(0, 2.0, 4000), np.full(4000, 0.5)])} for _ in range(6)]
    found = script.calibrated(kept)
    assert found["factors"]["all"] == pytest.approx(4.0, rel=0.03)  # stated 0.5, true 2
    assert found["covered"]["50 %"] == pytest.approx(0.9, abs=0.01)
    assert json.dumps(found)
