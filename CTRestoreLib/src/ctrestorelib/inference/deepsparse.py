"""DeepSparse from projections to a volume (layer: inference).

The network decodes points, so that any grid will do: coarse, turned, or a region only. Nothing is
compared with the measurements afterwards; that is what the default method is for.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import WeightsError
from ctrestorelib.core.job import Job, Stage
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.inference.square_detector import resampled, seen_edge_mm, square_detector
from ctrestorelib.weights.store import released, weights_file
from ctrestorelib.weights.tensors import read_tensors

if TYPE_CHECKING:
    from ctrestorelib.networks.dice import CubeFrame, DiceNetwork
    from ctrestorelib.networks.dice.network import Seen

Floats = NDArray[np.float32]

ARCHITECTURE = "dice"
POINTS_AT_ONCE = 2**15
LOOK_SHARE = 0.2
"""Share of the time in which the views are looked at; in the rest the volume is filled."""
_MOST_HEADER_BYTES = 10**7
_MARGIN = 1e-4  # of the cube: voxel centres at its faces are inside


@enum.unique
class ExtraViews(str, enum.Enum):
    """What to do with more views than the network was trained for."""

    ALL = "all"
    SUBSETS = "subsets"


@dataclass(frozen=True, eq=False)
class DeepSparseModel:
    """Loaded weights.

    Parameters
    ----------
    network
        In evaluation mode, on ``device``.
    about
        What the file says: ``views``, ``stage``, ``top``, ``options``.
    file
        Its name.
    device
        Of torch.
    """

    network: DiceNetwork
    about: Mapping[str, Any]
    file: str
    device: str

    @property
    def most_views(self) -> int:
        """The largest number of views it was trained for."""
        return int(max(self.about["views"]))

    @property
    def fewest_views(self) -> int:
        """The smallest number of views it was trained for."""
        return int(min(self.about["views"]))


def variants() -> dict[str, tuple[int, ...]]:
    """Return the released weights of DeepSparse with the views they were trained for."""
    try:
        networks = released()
    except WeightsError:
        return {}
    return {name: tuple(entry.about["views"]) for name, entry in networks.items()
            if entry.about.get("architecture") == ARCHITECTURE}  # fmt: skip


def variant_for(views: int, known: Mapping[str, tuple[int, ...]] | None = None) -> str:
    """Return the released weights whose number of views is nearest to ``views``.

    Raises
    ------
    WeightsError
        If none are released.
    """
    known = variants() if known is None else known
    if not known:
        message = "No weights of DeepSparse are released yet."
        hint = "Train them with 'ctrestore train deepsparse' and give their file."
        raise WeightsError(message, hint=hint)

    def gap(name: str) -> tuple[float, int]:
        trained = known[name]
        nearest = min(max(views, min(trained)), max(trained))
        return abs(np.log(views / nearest)), len(trained)

    return min(known, key=gap)


def describe(weights: str) -> dict[str, Any]:
    """Return what weights say about themselves, without loading them.

    Parameters
    ----------
    weights
        Name of released weights, or path of a ``.safetensors`` file.

    Raises
    ------
    WeightsError
        If there are no such weights, or they are not of DeepSparse.
    """
    path = _path(weights)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _MOST_HEADER_BYTES)))
        about = json.loads(header["__metadata__"]["about"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path.name} cannot be read as weights ({type(error).__name__})."
        raise WeightsError(message, hint="Check the path, or train again.") from error
    return _checked(about, path)


def load_deepsparse(weights: str, device: str = "cpu") -> DeepSparseModel:
    """Load weights by released name or path; errors as of :func:`describe`."""
    import torch

    from ctrestorelib.networks.dice import DiceNetwork, DiceSettings

    path = _path(weights)
    file = read_tensors(path)
    about = _checked(file.about, path)
    network = DiceNetwork(DiceSettings.from_json(about["options"]), denoise=bool(about["denoise"]))
    tensors = {name: torch.from_numpy(np.asarray(a)).to(torch.float32)
               if a.dtype.kind == "f" else torch.from_numpy(np.asarray(a))
               for name, a in file.arrays.items()}  # fmt: skip
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        message = f"The weights of {path.name} do not fit their own description: {error}"
        raise WeightsError(message, hint="Use the file as the training wrote it.") from error
    return DeepSparseModel(network.eval().to(device), about, path.name, device)


def view_subsets(angles_rad: NDArray[np.float64], most: int, extra: ExtraViews) -> list[list[int]]:
    """Return the views of each pass of the network: all at once, or interleaved subsets.

    A subset has at most ``most`` views, evenly among the gantry angles.
    """
    order = np.argsort(angles_rad, kind="stable")
    count = 1 if extra is ExtraViews.ALL else -(-len(order) // most)
    return [order[n::count].tolist() for n in range(count)]


def reconstruct(
    scan: ProjectionSet,
    grid: VolumeGeometry,
    model: DeepSparseModel,
    job: Job,
    *,
    mu_water_per_mm: float,
    edge_mm: float | None = None,
    extra: ExtraViews = ExtraViews.ALL,
) -> tuple[Floats, dict[str, Any]]:
    """Return the attenuation ``[k, j, i]`` in 1/mm, and a report.

    Parameters
    ----------
    scan
        Line integrals, any number of views.
    grid
        Voxels to fill; those outside the cube of the network are air, as all are where no view
        shows anything.
    model
        From :func:`load_deepsparse`.
    job
        Progress, cancel and warnings.
    mu_water_per_mm
        Attenuation of water.
    edge_mm
        Edge of the cube about the isocentre that the network takes for its own; what the detector
        shows if None, as in the training.
    extra
        What to do with more views than the network was trained for.

    Raises
    ------
    GeometryError
        If the scan cannot be shown on an upright flat panel.
    """
    from ctrestorelib.networks.dice import CubeFrame

    edge = seen_edge_mm(scan.geometry) if edge_mm is None else edge_mm
    pixels = model.network.settings.pixels
    square = square_detector(scan.geometry, edge, pixels)
    frame = CubeFrame.about_isocentre(scan.geometry, edge)
    passes = view_subsets(scan.geometry.angles_rad, model.most_views, extra)
    total = np.zeros(grid.shape, np.float32)
    with job.stage("Look at the views", LOOK_SHARE) as stage:
        seen_at = resampled(scan, square, stage.track(range(scan.views), scan.views))
        seen_at /= np.float32(mu_water_per_mm * edge)
    is_air = not (seen_at > 0.0).any()  # the network would draw a mean body all the same
    with job.stage("Fill the volume", 1.0 - LOOK_SHARE) as stage:
        for n, views in enumerate([] if is_air else passes):
            work = _Pass(model, frame, seen_at[views], frame.matrices(square[views]))
            _fill(total, grid, work, stage, (n, len(passes)))
    outside = _outside_share(grid, frame)
    total *= np.float32(mu_water_per_mm / len(passes))
    report = {
        "weights": model.file,
        "stage": model.about.get("stage"),
        "trained_views": list(model.about["views"]),
        "passes": [len(views) for views in passes],
        "cube_edge_mm": edge,
        "outside_cube": outside,
    }
    return total, report


class _Pass:
    """The network after it has seen some views."""

    def __init__(
        self, model: DeepSparseModel, frame: CubeFrame, seen_at: Floats, matrices: Floats
    ) -> None:
        import torch

        self.model, self.frame = model, frame
        self._matrices = self._tensor(matrices)
        with torch.no_grad():
            self._seen: Seen = model.network.see(self._tensor(seen_at), self._matrices)

    def values(self, points: Floats) -> Floats:
        """Return the attenuation in units of water at ``points`` ``[point, 3]`` of the cube."""
        import torch

        top = float(self.model.about["top"])
        with torch.no_grad():
            found = self.model.network.decode(self._seen, self._matrices, self._tensor(points))
            return np.asarray(found[0].clamp(0.0, top).cpu().numpy())

    def _tensor(self, values: Floats) -> Any:
        import torch

        return torch.from_numpy(np.ascontiguousarray(values))[None].to(self.model.device)


def _fill(
    total: Floats, grid: VolumeGeometry, work: _Pass, stage: Stage, part: tuple[int, int]
) -> None:
    """Add what a pass of the network finds at each voxel, some thousand voxels at a time."""
    flat = total.reshape(-1)
    done, passes = part
    for start in range(0, flat.size, POINTS_AT_ONCE):
        chosen = np.arange(start, min(start + POINTS_AT_ONCE, flat.size))
        points, inside = _cube_points(grid, work.frame, chosen)
        if inside.any():
            flat[chosen[inside]] += work.values(points[inside])
        stage.done((done + (start + len(chosen)) / flat.size) / passes)


def _cube_points(
    grid: VolumeGeometry, frame: CubeFrame, chosen: NDArray[np.integer[Any]]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return cube coordinates ``[point, 3]`` of voxels by flat index, and which are inside."""
    kji = np.stack(np.unravel_index(chosen, grid.shape), axis=-1)
    points = frame.to_cube(grid.to_world(kji[:, ::-1])).astype(np.float32)
    return points, np.abs(points).max(axis=1) <= 1.0 + _MARGIN


def _outside_share(grid: VolumeGeometry, frame: CubeFrame) -> float:
    """Return the share of the grid outside the cube, from 32 planes along each axis."""
    axes = [np.unique(np.linspace(0, n - 1, 32).round().astype(int)) for n in grid.shape]
    kji = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    points = frame.to_cube(grid.to_world(kji[:, ::-1]))
    return float((np.abs(points).max(axis=1) > 1.0 + _MARGIN).mean())


def _path(weights: str) -> Path:
    if weights.endswith(".safetensors"):
        return Path(weights)
    return weights_file(weights, "safetensors")


def _checked(about: Mapping[str, Any], path: Path) -> dict[str, Any]:
    needed = {"options", "denoise", "views", "top"}
    if about.get("architecture") != ARCHITECTURE or not needed <= about.keys():
        message = f"{path.name} does not hold weights of DeepSparse."
        hint = "Give the deepsparse.safetensors of 'ctrestore train deepsparse'."
        raise WeightsError(message, hint=hint)
    return dict(about)
