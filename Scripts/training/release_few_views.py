"""Release networks of the few-view methods: files, checksums and model cards.

    python Scripts/training/release_few_views.py cts FOLDER
    python Scripts/training/release_few_views.py deepsparse FOLDER NAME

FOLDER is the ``--out`` of ``ctrestore train cts`` (all stages that are trained to their end are
released, as ``cts-prior``, ``cts-correct`` and ``cts-refine``) or of one stage of ``ctrestore
train deepsparse`` (released as NAME, such as ``deepsparse-10``). Calibrations of older weights are
removed: run ``calibrate_cts.py`` next. Words of an edited card stay, its table is renewed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from release_files import enter, facts_of_run, write_card

from ctrestorelib.core.errors import InputError
from ctrestorelib.recon.learned_prior import load_volume_unet
from ctrestorelib.training.deepsparse.weights import NAME, save_released
from ctrestorelib.training.sparse_view.stages import FINAL, TrainingStage
from ctrestorelib.weights.store import FOLDER
from ctrestorelib.weights.tensors import read_tensors

MARKS = "<!-- facts: written by release_few_views.py -->", "<!-- end of facts -->"
DATA = """Virtual scans of procedural bodies (knees, pelvises, chests, heads, with implants, and odd
objects) and of the volumes of the training list in `Scripts/training/split.json`, in random poses;
no validation volume. Soft-tissue-Sarcoma (Vallieres M et al., TCIA,
doi:10.7937/K9/TCIA.2015.7GO2GSKS, CC BY 3.0; cropped by the IBSI), the Visible Human Female (U.S.
National Library of Medicine, public domain) and two micro-CT volumes of the QIM collection.
`Docs/explanation/training-scans.md` tells how. Neither scatter nor beam hardening is simulated."""
STAGES = {
    "prior": "corrects a total-variation volume: adds what few views do not show.",
    "correct": "corrects what the return to the measurements broke.",
    "refine": "sharpens the result on the full grid.",
}
CTS_CARD = """# cts-{stage}

Network of the few-view method `cts`: it {what} Research use only.

## What it is for

3-D patches of five channels (estimate, filtered backprojection, backprojected residual, coverage,
angular gap) and a vector that describes the scan go in; a correction in units of water and the log
of its expected error come out. `cts` pulls each result back to the measurements and keeps only as
much of the correction as views set aside confirm. 4 to 60 views, arcs of 120 to 360 degrees.

## What it was trained on

{data}

Licence of the weights: Apache-2.0, as the code.

## How it was trained

`Docs/how-to/train-cts.md` has the commands.

{facts}

## What it does, measured

`Docs/reference/sparse-view-table.md`, written by `Testing/benchmark/sparse_view`.

## Where it fails

What no view shows cannot be known: joint spaces, thin cortical bone and small fragments may be
missing or smooth. Beam-hardened metal and scatter were not trained on.
"""
DEEPSPARSE_CARD = """# {name}

DeepSparse (DiCE network) in a compact size of our own: X-ray views in, attenuation at any point
out. Research use only; not for primary diagnosis: nothing compares its picture with the
measurements.

## What it is for

Peer of the default `cts`. The published network has 7.2 million parameters and learned from
thousands of CT volumes; `ctrestore train deepsparse --network full` trains that size.

## What it was trained on

{data}

Licence of the weights: Apache-2.0, as the code. Lifting 2-D features to points is the subject of a
pending patent application (US 2025/0322567 A1).

## How it was trained

`Docs/how-to/train-deepsparse.md` has the commands.

{facts}

## What it does, measured

`Docs/reference/sparse-view-table.md`, written by `Testing/benchmark/sparse_view`.

## Where it fails

Anything unlike the training bodies is drawn as if it were like them. Half a turn of equally spaced
views about the isocentre is all it has seen.
"""


def main() -> None:
    """Read the arguments and release."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("method", choices=("cts", "deepsparse"))
    parser.add_argument("folder", type=Path, help="folder of the training")
    parser.add_argument("name", nargs="?", default="deepsparse", help="name of DeepSparse weights")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder of released weights")
    given = parser.parse_args()
    if given.method == "cts":
        release_cts(given.folder, given.into)
    else:
        release_deepsparse(given.folder, given.name, given.into)


def release_cts(folder: Path, into: Path) -> None:
    """Release every stage of a training of ``cts`` that came to its end.

    Raises
    ------
    InputError
        If there is none.
    """
    stages = [stage for stage in TrainingStage if (folder / stage.value / FINAL).is_file()]
    if not stages or stages[0] is not TrainingStage.PRIOR:
        message = f"The folder {folder.name!r} holds no finished training of the stage 'prior'."
        raise InputError(message, hint="Train it with ctrestore train cts --stage prior.")
    for stage in stages:
        name, place = f"cts-{stage.value}", folder / stage.value
        network = load_volume_unet(place / FINAL)
        shutil.copyfile(place / FINAL, into / f"{name}.safetensors")
        facts = {
            "network": type(network).__name__, "width": network.width, "levels": network.levels,
            "parameters": sum(p.numel() for p in network.parameters()),
            "scans": scans_of(place / "items"), **facts_of_run(place),
        }  # fmt: skip
        enter(name, ("safetensors",), facts, into)
        (into / f"{name}.calibration.json").unlink(missing_ok=True)
        words = {"stage": stage.value, "what": STAGES[stage.value], "data": DATA}
        write_card(into / f"{name}.md", _filled(CTS_CARD, words), facts, MARKS)


def scans_of(items: Path) -> dict[str, Any]:
    """Return how many scans a stage learned from: all, of real subjects, and their sizes."""
    scans = [json.loads(path.read_text())["task"]["scan"] for path in items.glob("*.json")]
    return {
        "number": len(scans),
        "of real subjects": sum(scan["kind"] == "scan" for scan in scans),
        "cells": ", ".join(str(n) for n in sorted({scan["cells"] for scan in scans})),
    }


def release_deepsparse(folder: Path, name: str, into: Path) -> None:
    """Release the weights of one stage of DeepSparse, convolutions as float16."""
    change = save_released(folder / NAME, into / f"{name}.safetensors")
    about = read_tensors(into / f"{name}.safetensors").about
    facts = {**about, "largest_rounding": float(f"{change:.2g}"), **facts_of_run(folder)}
    enter(name, ("safetensors",), facts, into)
    words = {"name": name, "data": DATA}
    write_card(into / f"{name}.md", _filled(DEEPSPARSE_CARD, words), facts, MARKS)


def _filled(card: str, words: dict[str, str]) -> str:
    for name, text in words.items():
        card = card.replace("{" + name + "}", text)
    return card


if __name__ == "__main__":
    main()
