"""Release the denoiser of a HorusEye training: files, checksums and a model card.

    python Scripts/training/release_horuseye.py FOLDER

FOLDER is the one given to ``horuseye.py``. Written are ``horuseye-compact.safetensors`` and
``.onnx``, the entry in ``manifest.json`` and the card. With ``--round N`` the denoiser of round N
is taken, of a training that still goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

from release_files import enter, write_card

from ctrestorelib.networks.horuseye import build
from ctrestorelib.training.export import load_weights, save_weights
from ctrestorelib.training.horuseye.export import export_denoiser, trained_denoiser
from ctrestorelib.weights.store import FOLDER

NAME = "horuseye-compact"
MARKS = "<!-- facts: written by release_horuseye.py -->", "<!-- end of facts -->"
CARD = """# horuseye-compact

HorusEye's direct denoiser (H_D) in a compact form of our own: one slice in, the same slice with
less noise out. Research use only.

## What it is for

Peer of the default denoiser `ctd`: noise learned from real scans instead of simulated. Input: one
slice divided by the local noise level, in noise units; no neighbours and no display window play a
part. The published network has 128.9 million parameters and works in one clipped window.

## What it was trained on

HU volumes of the training list in `Scripts/training/split.json` with slices at most 3.3 mm apart;
no validation volume. Soft-tissue-Sarcoma (Vallieres M et al., TCIA,
doi:10.7937/K9/TCIA.2015.7GO2GSKS, CC BY 3.0; cropped by the IBSI) and the Visible Human Female
(U.S. National Library of Medicine, public domain).

**Against the publication:** HorusEye was trained on 60 000 to 200 000 scans with slices of at most
1 mm. All but one of the scans here have slices 3.27 mm apart, of one scanner type, and some repeat
part of their noise in the next slice. So the extractor predicts less well, more of its residuals
are refused (see the table), and the noise bank holds fewer kinds of grain. To make up for some of
that, the grain is made finer and coarser at random, and a tenth of the examples have white noise.

Licence of the weights: Apache-2.0, as the code.

## How it was trained

    python Scripts/training/horuseye.py DATA FOLDER
    python Scripts/training/release_horuseye.py FOLDER

{facts}

## Where it fails

It sees one slice only: fine bone texture and small vessels that resemble noise are smoothed.
Kernels much sharper or softer than those of the training scans, metal streaks, and micro-CT are
outside of what it learned.
"""


def main() -> None:
    """Read the arguments and release."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the training")
    parser.add_argument("--round", type=int, help="take the denoiser of this round")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder of released weights")
    given = parser.parse_args()
    tensors = given.into / f"{NAME}.safetensors"
    record = json.loads((given.folder / "horuseye.json").read_text())
    source = given.folder / "denoiser.safetensors"
    if given.round:
        source = given.folder / f"round_{given.round}" / "denoiser" / "final.safetensors"
    _write_weights(source, tensors, record, given.round or record["settings"]["rounds"])
    difference = export_denoiser(tensors, tensors.with_suffix(".onnx"))
    facts = _facts(given.folder, tensors, record, given.round) | {
        "onnx_difference": float(f"{difference:.2g}")
    }
    enter(NAME, ("onnx", "safetensors"), facts, given.into)
    write_card(given.into / f"{NAME}.md", CARD, facts, MARKS)


def _write_weights(source: Path, target: Path, record: dict[str, Any], rounds: int) -> None:
    settings = record["settings"]
    name = f"{NAME}-denoiser"
    network = load_weights(source, build(name, **settings["options"]))
    save_weights(
        network, target, architecture=name, mode=settings["mode"], options=settings["options"],
        rounds=rounds, seed=settings["seed"],
    )  # fmt: skip


def _facts(folder: Path, weights: Path, record: dict[str, Any], last: int | None) -> dict[str, Any]:
    network, about = trained_denoiser(weights)
    rounds = range(1, 1 + (last or record["settings"]["rounds"]))
    facts: dict[str, Any] = {
        "network": about["architecture"],
        "mode": about["mode"],
        "parameters": sum(p.numel() for p in network.parameters()),
        "released": date.today().isoformat(),
        "scans": len(record["scans"]),
        "settings": record["settings"],
    }
    for number in rounds:
        facts[f"round {number}"] = _of_round(folder / f"round_{number}")
    return facts


def _of_round(place: Path) -> dict[str, Any]:
    """Return what the noise bank, the refinement and both trainings of a round came to."""
    census = json.loads((place / "census.json").read_text()).values()
    found: dict[str, Any] = {
        name: sum(c[name] for c in census)
        for name in ("seen", "saturated", "follows_edges", "wrong_spectrum", "accepted")
    }
    for role in ("extractor", "denoiser"):
        with (place / role / "curves.csv").open(newline="") as file:
            found[f"{role} l1 (noise units)"] = float(list(csv.DictReader(file))[-1]["l1"])
    refined = place / "clean.json"
    if refined.exists():
        scans = list(json.loads(refined.read_text()).values())
        for name in ("replaced", "left"):
            found[f"{name}, mean share"] = sum(s[name] for s in scans) / len(scans)
    return found


if __name__ == "__main__":
    main()
