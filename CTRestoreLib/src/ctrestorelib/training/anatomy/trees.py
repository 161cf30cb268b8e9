"""Branching vessels and airways as lists of tubes (layer: training)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctrestorelib.training.anatomy.canvas import Point, Tube

Vector = npt.NDArray[np.float64]


def grow_tree(
    rng: np.random.Generator,
    start: Point,
    direction: Point,
    radius: float,
    *,
    thinnest: float = 0.4,
    most: int = 120,
    wander: float = 0.25,
) -> list[Tube]:
    """Return the tubes of a branching vessel.

    Parameters
    ----------
    rng
        Decides lengths, turns and branches.
    start, direction, radius
        Where the stem begins, where it goes (x, y, z; any length) and how thick it is, mm.
    thinnest
        Branches below this radius end, mm.
    most
        Limit to the number of tubes.
    wander
        How much a vessel turns from one tube to the next, radians, about.

    Notes
    -----
    At a branching the cubes of the radii add up (Murray 1926, doi:10.1073/pnas.12.3.207).
    """
    tubes: list[Tube] = []
    heading = np.asarray(direction, float)
    tips = [(np.asarray(start, float), heading / np.linalg.norm(heading), float(radius))]
    while tips and len(tubes) < most:
        place, heading, radius = tips.pop(0)
        for _ in range(int(rng.integers(1, 4))):
            end = place + heading * radius * rng.uniform(2.0, 5.0)
            thinner = radius * rng.uniform(0.92, 1.0)
            tubes.append(Tube(_point(place), _point(end), radius, thinner))
            place, radius = end, thinner
            heading = _turned(rng, heading, wander)
        share = rng.uniform(0.3, 0.7)
        for part in (share, 1 - share):
            if radius * part ** (1 / 3) >= thinnest:
                tips.append((place, _turned(rng, heading, 0.6), radius * part ** (1 / 3)))
    return tubes


def winding_path(
    rng: np.random.Generator,
    start: Point,
    direction: Point,
    radius: float,
    *,
    steps: int,
    step: float,
    wander: float = 0.3,
) -> list[Tube]:
    """Return one unbranched tube that winds: bowel, airway, a vessel that passes by."""
    place, heading = np.asarray(start, float), np.asarray(direction, float)
    heading /= np.linalg.norm(heading)
    tubes = []
    for _ in range(steps):
        end = place + heading * step
        wider = radius * rng.uniform(0.9, 1.1)
        tubes.append(Tube(_point(place), _point(end), radius, wider))
        place, radius, heading = end, wider, _turned(rng, heading, wander)
    return tubes


def random_direction(rng: np.random.Generator, flat: float = 0.0) -> Point:
    """Return a random direction; with ``flat`` towards 1 it lies ever more in the slice."""
    x, y, z = rng.standard_normal(3)
    return _point(np.array([x, y, z * (1 - flat)]) + 1e-6)


def _turned(rng: np.random.Generator, heading: Vector, much: float) -> Vector:
    turned = heading + much * rng.standard_normal(3)
    turned /= max(float(np.linalg.norm(turned)), 1e-9)
    return turned


def _point(vector: Vector) -> Point:
    x, y, z = vector.tolist()
    return x, y, z
