"""``ctrestore train cts``: options become settings, and what cannot work is refused at once."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.apps.cli import train_cts
from ctrestorelib.apps.cli.main import cli
from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import write_volume
from ctrestorelib.training.sparse_view.stages import FULL_SIZES, TrainingStage

GIVEN = {
    "stage": "correct", "scans": 12, "cells": (64, 96), "pixels": None, "batch": 3, "patch": 48,
    "network": "full", "processes": 2, "steps": 70, "threads": 1, "seed": 5,
}  # fmt: skip


def test_options_become_settings():
    settings = train_cts.settings_of(GIVEN)
    assert settings.stage is TrainingStage.CORRECT
    assert settings.size == FULL_SIZES[TrainingStage.CORRECT]
    assert (settings.scans, settings.cells, settings.processes) == (12, (64, 96), 2)
    assert [settings.sizes(n) for n in range(3)] == [(64, 128), (96, 192), (64, 128)]
    assert (settings.patches.size, settings.patches.patch) == (3, 48)
    assert (settings.loop.steps, settings.loop.threads, settings.loop.seed) == (70, 1, 5)
    longer = train_cts.settings_of({**GIVEN, "steps": None, "pixels": 100})
    assert longer.loop.steps > 1000
    assert longer.sizes(1) == (96, 100)


@pytest.mark.parametrize("wrong", [{"patch": 30}, {"patch": 16}, {"cells": (64, 65)}])
def test_sizes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(UsageError, match="multiple of 8"):
        train_cts.settings_of({**GIVEN, **wrong})


def test_a_later_stage_asks_for_the_earlier(tmp_path):
    data = tmp_path / "volumes"
    data.mkdir()
    values = np.zeros((4, 40, 40), np.float32)
    grid = VolumeGeometry.from_spacing(values.shape, (1.0, 1.0, 1.0))
    write_volume(Volume(values, grid, Unit.HU), data / "v.nii.gz")
    with pytest.raises(InputError, match="needs the stage 'prior'"):
        cli.main(
            [
                "train",
                "cts",
                "--stage",
                "refine",
                "--data",
                str(data),
                "--out",
                str(tmp_path / "o"),
            ],
            standalone_mode=False,
        )


@pytest.mark.parametrize(("text", "why"), [("64,x", "whole numbers"), ("16,64", "at least 32")])
def test_cells_are_a_list_of_whole_numbers(text, why, capsys):
    import click

    with pytest.raises(click.UsageError, match=why):
        cli.main(["train", "cts", "--cells", text], standalone_mode=False)
