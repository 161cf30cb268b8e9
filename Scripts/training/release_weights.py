"""Release the weights of a finished training: files, checksums and a model card.

    python Scripts/training/release_weights.py FOLDER ctd-standard

FOLDER is a training's folder with ``final.safetensors``; with ``--checkpoint`` the running mean of
the weights in ``checkpoint.safetensors`` is taken, of a training that still goes on. Written are
``<name>.safetensors``, ``<name>.onnx``, the entry in ``manifest.json`` and, unless there is one
already, the skeleton of the card ``<name>.md``. The card's table of settings is always renewed.
A calibration of older weights is removed: run ``calibrate.py`` next.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from release_files import enter, facts_of_run, write_card

from ctrestorelib.core.errors import InputError
from ctrestorelib.networks.residual_unet import ResidualUNet
from ctrestorelib.training.export import export_onnx, load_weights, save_weights
from ctrestorelib.weights.store import FOLDER

MARKS = "<!-- settings: written by release_weights.py -->", "<!-- end of settings -->"
CARD = """# {name}

A 2.5-D residual network that removes noise from CT volumes. Research use only.

## What it is for

Reconstructed CT volumes in HU (or micro-CT in grey values) with visible noise. Input: five
neighbouring slices divided by the local noise level; output: the noise of the middle slice and the
uncertainty of that, in noise units. The original is never changed; the strength is a slider.

## What it was trained on

Procedural anatomy and the volumes of the training list in `Scripts/training/split.json`, with
simulated noise of many doses, kernels and slice profiles. No validation volume was trained on.

## How it was trained

{facts}

## What it does, measured

Run `Testing/benchmark/denoise`; its tables are in `Docs/reference`.

## Where it fails

Fine bone texture at high noise; noise much coarser than that of any scanner kernel (iterative
reconstruction); metal streaks, which are no noise; slices thicker than about 3 mm, where the
neighbours no longer help. See the warnings that come with each result.
"""


def main() -> None:
    """Read the arguments and release."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the training")
    parser.add_argument("name", help="ctd-standard, ctd-fast, ...")
    parser.add_argument("--checkpoint", action="store_true", help="take a running training's mean")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder of released weights")
    given = parser.parse_args()
    network = _from_checkpoint(given.folder) if given.checkpoint else _final(given.folder)
    release(network, given.name, facts_of(given.folder, network), given.into)


def release(network: ResidualUNet, name: str, facts: dict[str, Any], into: Path = FOLDER) -> None:
    """Write files, manifest entry and card of one network.

    Raises
    ------
    WeightsError
        If the ONNX file computes something else, or a file is too large.
    """
    tensors, onnx = into / f"{name}.safetensors", into / f"{name}.onnx"
    save_weights(network, tensors)
    difference = export_onnx(network, onnx)
    facts = {**facts, "onnx_difference": float(f"{difference:.2g}")}
    enter(name, ("onnx", "safetensors"), facts, into)
    (into / f"{name}.calibration.json").unlink(missing_ok=True)
    write_card(into / f"{name}.md", CARD.replace("{name}", name), facts, MARKS)


def facts_of(folder: Path, network: ResidualUNet) -> dict[str, Any]:
    """Return plain facts about a training from what its folder holds."""
    return {
        "network": type(network).__name__,
        "width": network.width,
        "slices": network.slices,
        "parameters": sum(p.numel() for p in network.parameters()),
        **facts_of_run(folder),
    }


def _final(folder: Path) -> ResidualUNet:
    network = load_weights(folder / "final.safetensors")
    assert isinstance(network, ResidualUNet)
    return network


def _from_checkpoint(folder: Path) -> ResidualUNet:
    """Return the running mean of a training that still goes on."""
    from safetensors.torch import load_file

    tensors = load_file(folder / "checkpoint.safetensors")
    prefix = "ema."
    mean = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    if "head.weight" not in mean:
        message = f"The checkpoint in {folder.name!r} holds no running mean of a residual network."
        raise InputError(message)
    width = mean["head.weight"].shape[1]
    slices = mean["down.0.0.weight"].shape[1] // 4 - 2
    network = ResidualUNet(width, slices)
    network.load_state_dict(mean)
    return network.eval()


if __name__ == "__main__":
    main()
