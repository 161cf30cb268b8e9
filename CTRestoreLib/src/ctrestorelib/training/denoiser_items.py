"""Training material of the denoiser: clean stacks and ready-made noise (layer: training).

An item is a stack of clean slices with a few noise realisations of unit level. Making the noise
costs a reconstruction each; scaling and adding it costs nothing. So items are made once, and each
batch draws level, place, orientation and realisation anew.

Files of item n, all int16 (quick to read; see the constants for their steps): ``n_clean.npy``
``[k, j, i]``, ``n_noise.npy`` and ``n_level.npy`` ``[realisation, k, j, i]``; and ``n.json`` (name,
whether HU, noise left in it).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.physics.kernel_match import match_kernel
from ctrestorelib.physics.parallel2d import Kernel
from ctrestorelib.training.clean_volumes import CleanVolume, as_trainable, binned
from ctrestorelib.training.noise_images import noise_images
from ctrestorelib.training.noise_recipe import NoiseRecipe, draw_recipe
from ctrestorelib.training.stored_items import run_tasks, save_array, save_record

Floats = NDArray[np.float32]

STORED_PER_HU = 8.0
"""Stored values per HU: int16 reaches from -4096 to 4096 HU in steps an eighth of a HU wide."""
STORED_PER_UNIT = 2048.0
"""Stored values per unit of noise and of its level: up to 16 in steps of a two-thousandth."""
ANATOMY_PIXEL_MM = (0.35, 2.0)
"""Pixel sizes of procedural anatomy; drawn evenly in the logarithm."""
_LOW_NOISE_HU = 9.0  # a scan with less noise than this is also used without binning
_SMALLEST = 56  # rows and columns an item needs at least; smaller patches are mirrored
_ANATOMY_SHAPE = (12, 192, 192)


@dataclass(frozen=True)
class ItemTask:
    """What one item is made of.

    Parameters
    ----------
    number
        Its number, which also seeds it.
    path
        A training volume, or None for procedural anatomy.
    factor
        Binning of the volume in the plane.
    realisations
        How many noises to make.
    seed
        Seed of the whole collection.
    """

    number: int
    path: Path | None
    factor: int
    realisations: int
    seed: int


def item_tasks(files: Sequence[Path], anatomies: int, seed: int) -> list[ItemTask]:
    """Return the tasks for all volumes, binned by 1, 2 and 3, and ``anatomies`` more."""
    real = [(path, factor) for path in files for factor in (1, 2, 3)]
    tasks = [ItemTask(n, path, factor, 3, seed) for n, (path, factor) in enumerate(real)]
    return tasks + [ItemTask(len(real) + n, None, 1, 2, seed) for n in range(anatomies)]


def make_items(
    tasks: Sequence[ItemTask],
    folder: Path,
    processes: int = 1,
    report: Callable[[str], None] | None = None,
) -> int:
    """Make the items that ``folder`` does not hold yet; return how many it holds afterwards.

    An item is complete when its JSON file exists, which is written last: a stopped run goes on
    where it was. Volumes too small or too noisy to train on leave no item.

    Raises
    ------
    InputError
        If the folder holds material that was made of something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    todo = [t for t in tasks if not _is_made(t, folder)]
    run_tasks(partial(make_item, folder=folder), todo, processes, report)
    return sum(1 for _ in folder.glob("*_clean.npy"))


def _is_made(task: ItemTask, folder: Path) -> bool:
    path = folder / f"{task.number:05d}.json"
    if not path.exists():
        return False
    if json.loads(path.read_text()).get("task") != _identity(task):
        message = (
            f"The folder {folder.name!r} holds training material of other volumes or settings."
        )
        raise InputError(message, hint="Give another output folder, or delete this one's items.")
    return True


def _identity(task: ItemTask) -> dict[str, object]:
    source = "anatomy" if task.path is None else task.path.name
    return {"source": source, "factor": task.factor, "noises": task.realisations, "seed": task.seed}


def make_item(task: ItemTask, folder: Path) -> None:
    """Make one item; see :func:`make_items`."""
    rng = np.random.default_rng([task.seed, task.number])
    clean, kernel = _anatomy(rng) if task.path is None else _scan(task)
    stem = folder / f"{task.number:05d}"
    usable = clean is not None and min(clean.values.shape[1:]) >= _SMALLEST
    facts: dict[str, object] = {"usable": usable, "task": _identity(task)}
    if usable and clean is not None:
        base = draw_recipe(rng, clean.spacing_mm[0])
        kernels = [kernel if kernel and rng.random() < 0.6 else base.kernel] * task.realisations
        values = clean.values
        if task.path is None and rng.random() < 0.6:
            values = blurred(values, kernels[0], clean.spacing_mm[0])
        made = [_noise(rng, values, clean, k) for k in kernels]
        save_array(_path(stem, "clean"), _stored(values, STORED_PER_HU))
        save_array(_path(stem, "noise"), _stored(np.stack([m[0] for m in made]), STORED_PER_UNIT))
        save_array(_path(stem, "level"), _stored(np.stack([m[1] for m in made]), STORED_PER_UNIT))
        facts |= {"name": clean.name, "is_hu": clean.is_hu, "sigma": clean.sigma}
        facts |= {"real": task.path is not None}
    save_record(stem.with_suffix(".json"), facts)


def blurred(values: Floats, kernel: Kernel, pixel_mm: float) -> Floats:
    """Return slices as a scan with this kernel shows them: blurred as its noise is."""
    fy = np.fft.fftfreq(values.shape[1] * 2, pixel_mm)
    fx = np.fft.rfftfreq(values.shape[2] * 2, pixel_mm)
    response = kernel.response(np.hypot(fy[:, None], fx)).astype(np.float32)
    half = [(0, n) for n in values.shape[1:]]
    out = np.empty_like(values)
    for k, image in enumerate(values):
        padded = np.pad(image, half, mode="symmetric")
        full = np.fft.irfft2(np.fft.rfft2(padded) * response, padded.shape)
        out[k] = full[: image.shape[0], : image.shape[1]]
    return out


def _scan(task: ItemTask) -> tuple[CleanVolume | None, Kernel | None]:
    from ctrestorelib.io.volumes import read_volume

    assert task.path is not None
    volume = as_trainable(read_volume(task.path).volume)
    made = binned(volume, task.factor, task.path.name)
    if task.factor == 1 and made.is_hu and made.sigma > _LOW_NOISE_HU:
        return None, None
    try:
        kernel = match_kernel(volume)
    except InputError:
        kernel = None
    return made, kernel


def _anatomy(rng: np.random.Generator) -> tuple[CleanVolume, None]:
    from ctrestorelib.training.anatomy import make_anatomy

    pixel_mm = float(np.exp(rng.uniform(*np.log(ANATOMY_PIXEL_MM))))
    spacing_mm = (pixel_mm, pixel_mm, float(pixel_mm * np.exp(rng.uniform(0.0, 1.6))))
    values = make_anatomy(rng, _ANATOMY_SHAPE, spacing_mm)
    return CleanVolume("anatomy", values, spacing_mm, True, 0.0), None


def _noise(
    rng: np.random.Generator, values: Floats, clean: CleanVolume, kernel: Kernel
) -> tuple[Floats, Floats]:
    drawn = draw_recipe(rng, clean.spacing_mm[0])
    recipe = NoiseRecipe(**{**vars(drawn), "kernel": kernel})
    hu = values if clean.is_hu else values - 500.0
    images = noise_images(hu, clean.spacing_mm[0], recipe, rng)
    return images.noise, images.level


def _stored(values: Floats, per_unit: float) -> NDArray[np.int16]:
    steps = np.rint(values * np.float32(per_unit))
    return np.asarray(np.clip(steps, -32768, 32767), dtype=np.int16)


def _path(stem: Path, what: str) -> Path:
    return stem.parent / f"{stem.name}_{what}.npy"
