"""Random fields that are functions of the world, not of a grid (layer: geometry; numpy, scipy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import read_only

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RandomField:
    """A band-limited random field of mean 0 and standard deviation 1.

    It is kept on a periodic lattice whose axes are turned against the world's, so that its period
    does not line up with anatomy; between lattice points it is interpolated linearly.

    Parameters
    ----------
    lattice
        One period, shape ``(n, n, n)``.
    pitch_mm
        Distance of lattice points.
    turn
        Rotation from world to lattice axes, shape (3, 3).
    """

    lattice: Array
    pitch_mm: float
    turn: NDArray[np.float64]

    @classmethod
    def band(
        cls,
        rng: np.random.Generator,
        band_per_mm: tuple[float, float],
        *,
        size: int = 128,
        stretch_z: float = 1.0,
        tilt_rad: float = 0.12,
    ) -> RandomField:
        """Draw a field with frequencies inside ``band_per_mm`` (line pairs per mm).

        ``stretch_z`` > 1 makes its grains longer along the lattice's third axis, which leans by
        ``tilt_rad`` from the world's z. The power falls with the square of the frequency.
        """
        low, high = band_per_mm
        pitch = 0.25 / high
        f = np.fft.fftfreq(size, pitch)
        fz = np.fft.rfftfreq(size, pitch) * stretch_z
        radius = np.sqrt(f[:, None, None] ** 2 + f[None, :, None] ** 2 + fz[None, None, :] ** 2)
        inside = (radius >= low) & (radius <= high)
        gain = np.where(inside, 1.0 / np.maximum(radius, low), 0.0)
        noise = np.fft.rfftn(rng.standard_normal((size, size, size), dtype=np.float32))
        field = np.fft.irfftn(noise * gain, s=(size, size, size), axes=(0, 1, 2))
        return cls(read_only(field / field.std(), np.float32), pitch, _turn(tilt_rad))

    def at(self, x: Array, y: Array, z: Array) -> Array:
        """Return the field at world points given in mm; arrays of one shape."""
        from scipy.ndimage import map_coordinates

        points = np.stack([x, y, z]).reshape(3, -1)
        where = (self.turn / self.pitch_mm).astype(np.float32) @ points
        values = map_coordinates(self.lattice, where, order=1, mode="grid-wrap")
        return np.asarray(values, dtype=np.float32).reshape(x.shape)


def _turn(tilt_rad: float) -> NDArray[np.float64]:
    c, s = np.cos(0.7), np.sin(0.7)
    about_z = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    c, s = np.cos(tilt_rad), np.sin(tilt_rad)
    lean = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    return np.asarray(lean @ about_z, dtype=np.float64)
