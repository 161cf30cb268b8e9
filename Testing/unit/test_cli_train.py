"""``ctrestore train`` at toy size, through the command itself."""

from __future__ import annotations

import json
import shutil
import signal

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.apps.cli import train as command
from ctrestorelib.apps.cli import train_team
from ctrestorelib.apps.cli.main import cli
from ctrestorelib.core.errors import (
    Cancelled,
    CTRestoreError,
    InputError,
    ResourceError,
    UsageError,
)
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import write_volume
from ctrestorelib.training.curves import read_curves
from ctrestorelib.training.export import load_weights


def call(*args):
    cli.main([str(a) for a in args], standalone_mode=False)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Return a folder of four small volumes: a water cylinder with a bone rod."""
    folder = tmp_path_factory.mktemp("volumes")
    _k, j, i = np.mgrid[:3, :112, :112].astype(np.float32)
    for n in range(4):
        values = np.where(np.hypot(j - 56, i - 56) < 45, 40.0, -1000.0)
        values[np.hypot(j - 56, i - 60 - 4 * n) < 9] = 700.0
        values += np.random.default_rng(n).normal(0, 4, values.shape)
        geometry = VolumeGeometry.from_spacing(values.shape, (0.8, 0.8, 1.0))
        volume = Volume(values.astype(np.float32), geometry, Unit.HU)
        write_volume(volume, folder / f"v{n}.nii.gz")
    return folder


def toy(volumes, out, *more):
    return ("train", "denoiser", "--data", volumes, "--out", out, "--network", "fast", "--steps",
            3, "--batch", 1, "--patch", 32, "--anatomies", 0, "--threads", 1, *more)  # fmt: skip


def test_without_a_network_the_networks_are_listed(capsys):
    call("train")
    told = capsys.readouterr().out
    assert "denoiser" in told
    assert "horuseye" in told
    assert "--help" in told


def test_a_denoiser_is_trained_stopped_and_goes_on(volumes, tmp_path, monkeypatch, capsys):
    from ctrestorelib.training import denoiser

    true_loss = denoiser.denoiser_loss

    def interrupted(network, batch):
        signal.raise_signal(signal.SIGINT)
        return true_loss(network, batch)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(denoiser, "denoiser_loss", interrupted)
        with pytest.raises(Cancelled, match="after step 1 of 3"):
            call(*toy(volumes, out))
    call(*toy(volumes, out))
    told = capsys.readouterr().err
    assert "Going on from step 1 of 3" in told
    assert f"Weights: {out / 'final.safetensors'}" in told
    assert load_weights(out / "final.safetensors").width == 16
    assert [row["step"] for row in read_curves(out / "curves.csv")] == [3]
    with pytest.raises(InputError, match="other settings"):
        call(*toy(volumes, out, "--seed", 5))


def test_a_folder_without_volumes_is_refused(tmp_path, volumes):
    (tmp_path / "notes.txt").write_text("nothing here")
    for network in ("denoiser", "horuseye"):
        with pytest.raises(InputError, match="No volume was found") as caught:
            call("train", network, "--data", tmp_path, "--out", tmp_path / "out")
        assert ".nii.gz" in caught.value.hint
        with pytest.raises(InputError, match="not a folder"):
            call("train", network, "--data", volumes / "v0.nii.gz", "--out", tmp_path / "out")
    with pytest.raises(UsageError, match="is a file"):
        call("train", "denoiser", "--data", volumes, "--out", tmp_path / "notes.txt")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [(None, "not a split file"), ("no json", "not a split file"), ("{}", "not a split file"),
     ('{"train": []}', "nothing to train on"), ('{"train": ["absent.nii"]}', "are not in")],
)  # fmt: skip
def test_a_split_that_does_not_fit_is_refused(volumes, tmp_path, content, match):
    split = tmp_path / "split.json"
    if content is not None:
        split.write_text(content)
    with pytest.raises(InputError, match=match):
        call(*toy(volumes, tmp_path / "out", "--split", split))


def test_the_split_says_what_is_trained_on(volumes, tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["v2.nii.gz"], "validation": ["v0.nii.gz"]}))
    given = {"data": volumes, "split": split}
    assert [path.name for path in command._files(given)] == ["v2.nii.gz"]
    assert len(command._files({"data": volumes, "split": None})) == 4


def test_a_patch_that_the_network_cannot_take_is_refused(volumes, tmp_path):
    with pytest.raises(UsageError, match=r"multiple of 16; got 40"):
        call(*toy(volumes, tmp_path / "out", "--patch", 40))


def test_more_graphics_cards_than_there_are_are_refused_before_any_work(volumes, tmp_path):
    for network in ("denoiser", "horuseye"):
        with pytest.raises(ResourceError, match="--gpus 99 needs 99"):
            call("train", network, "--data", volumes, "--out", tmp_path / "out", "--gpus", 99)
    assert not (tmp_path / "out").exists()


def test_a_team_runs_the_command_and_hands_on_its_failure(tmp_path, capfd):
    out = tmp_path / "out"
    with pytest.raises(CTRestoreError, match="exit code") as caught:
        train_team.start_team(2, ["train", "denoiser", "--data", str(tmp_path / "none"),
                                  "--out", str(out), "--gpus", "2"])  # fmt: skip
    assert "stands above" in caught.value.hint
    assert "not a folder" in capfd.readouterr().err  # said by the real command in a real team


def test_horuseye_gets_its_settings(volumes, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(volumes / "v0.nii.gz", folder)
    with pytest.raises(UsageError, match="published for windows"):
        call("train", "horuseye", "--data", folder, "--out", tmp_path / "a", "--pair", "full")
    with pytest.raises(UsageError, match="crop must be a multiple"):
        call("train", "horuseye", "--data", folder, "--out", tmp_path / "b", "--crop", 33)
