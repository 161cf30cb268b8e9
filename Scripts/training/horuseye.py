"""Train HorusEye's compact pair as released: the same volumes, settings and seed.

    python Scripts/training/horuseye.py DATA FOLDER

DATA is the folder that ``split.json`` was written for; FOLDER receives everything and goes on where
it was stopped. Only HU volumes of the training part with slices at most 3.3 mm apart are used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ctrestorelib.core.units import Unit
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.training.clean_volumes import training_files
from ctrestorelib.training.horuseye.rounds import train_horuseye
from ctrestorelib.training.horuseye.settings import HorusEyeSettings

SPLIT = Path(__file__).with_name("split.json")
THICKEST_MM = 3.3
SETTINGS = HorusEyeSettings(
    pair="compact", rounds=2, extractor_steps=1000, denoiser_steps=3000, threads=1, seed=0
)


def thin_enough(path: Path) -> bool:
    """Whether a file is an HU volume with slices at most 3.3 mm apart."""
    volume = read_volume(path).volume
    return volume.unit is Unit.HU and volume.geometry.spacing_mm[2] <= THICKEST_MM


def main() -> None:
    """Read the two folders from the command line and train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    files = [p for p in training_files(chosen.data, SPLIT) if thin_enough(p)]
    run = train_horuseye(files, chosen.folder, settings=SETTINGS)
    print(f"Weights: {run.extractor} and {run.denoiser}")


if __name__ == "__main__":
    main()
