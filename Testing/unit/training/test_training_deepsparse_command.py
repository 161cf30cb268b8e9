"""``ctrestore train deepsparse`` at toy size, through the command itself."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.apps.cli.main import cli
from ctrestorelib.apps.cli.train_deepsparse import SIZES, STAGES, settings_of
from ctrestorelib.core.errors import WeightsError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import write_volume
from ctrestorelib.networks import dice
from ctrestorelib.training.deepsparse import TrainingStage
from ctrestorelib.weights.tensors import read_tensors


def call(*args):
    cli.main([str(a) for a in args], standalone_mode=False)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Return a folder with one small volume: a water cylinder with a bone rod."""
    folder = tmp_path_factory.mktemp("volumes")
    _k, j, i = np.mgrid[:32, :48, :48].astype(np.float32)
    values = np.where(np.hypot(j - 24, i - 24) < 18, 40.0, -1000.0)
    values[np.hypot(j - 24, i - 28) < 5] = 700.0
    values += np.random.default_rng(0).normal(0, 4, values.shape)
    geometry = VolumeGeometry.from_spacing(values.shape, (2.0, 2.0, 3.0))
    write_volume(Volume(values.astype(np.float32), geometry, Unit.HU), folder / "v.nii.gz")
    return folder


@pytest.fixture
def tiny(monkeypatch):
    """Let the compact network be a toy."""
    from ctrestorelib.training.deepsparse import settings

    toy = dice.DiceSettings(widths=(3, 4), pixels=16, grid=5, codes=8, channels=6, hidden=(8, 4))
    usual = settings.DeepSparseSettings

    def made(**given):
        return usual(**{**given, "network": toy})

    monkeypatch.setattr(settings, "DeepSparseSettings", made)


def test_the_stages_follow_each_other_through_the_command(volumes, tmp_path, capsys, tiny):
    items = tmp_path / "items"
    shared = ("train", "deepsparse", "--data", volumes, "--items", items, "--cells", 16, "--poses",
              1, "--procedural", 1, "--candidates", 24, "--points", 200, "--steps", 2, "--threads",
              1)  # fmt: skip
    call(*shared, "--stage", "pretrain", "--out", tmp_path / "pretrain")
    first = tmp_path / "pretrain" / "deepsparse.safetensors"
    call(*shared, "--stage", "adapt", "--views", 6, "--start", first, "--out", tmp_path / "adapt")
    second = tmp_path / "adapt" / "deepsparse.safetensors"
    call(*shared, "--stage", "views", "--views", 6, "--start", second, "--out", tmp_path / "views")
    about = read_tensors(tmp_path / "views" / "deepsparse.safetensors").about
    assert (about["stage"], about["views"], about["steps"]) == ("views", [6], 2)
    told = capsys.readouterr().err
    assert "Mean image of the training subjects" in told
    assert "Weights:" in told
    assert len(list(items.glob("*_truth.npy"))) == 2
    with pytest.raises(WeightsError, match="goes on from"):
        call(*shared, "--stage", "views", "--views", 6, "--out", tmp_path / "none")


def test_options_that_are_not_given_have_the_defaults_of_the_network():
    absent = ("views", "cells", "procedural", "poses", "batch", "candidates", "points", "steps",
              "precision", "learning_rate")  # fmt: skip
    given = {**dict.fromkeys(absent), "network": "full", "stage": "adapt", "threads": 0, "seed": 3}
    made = settings_of(given)
    assert made.network == dice.FULL
    assert (made.cells, made.loop.seed, made.stage) == (256, 3, TrainingStage.ADAPT)
    made = settings_of({**given, "network": "compact", "views": 8, "steps": 5})
    assert (made.network, made.views, made.loop.steps) == (dice.COMPACT, 8, 5)
    assert set(SIZES) == set(dice.SIZES)
    assert tuple(stage.value for stage in TrainingStage) == STAGES
