"""Memory and time of a DeepSparse reconstruction, for its plan (layer: inference)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ctrestorelib.inference.deepsparse import LOOK_SHARE, POINTS_AT_ONCE, ExtraViews
from ctrestorelib.restorer.plan import (
    BASE_BYTES,
    MIB,
    Budget,
    InputShapes,
    Plan,
    PlannedStage,
    require_fit,
)

_TORCH_BYTES = 330 * MIB
_MULTIPLIES_PER_SECOND = 4e10
"""Of one core in convolutions (measured); a graphics card does some :data:`_ON_CARD` times that."""
_READ_PER_SECOND = 3e8
"""Features of one point in one view that one core reads (measured)."""
_ON_CARD = 60.0
_START_S = 3.0
_POINT_COPIES = 7  # of a point's features at the same time
_HINT = "Choose a smaller grid or larger voxels (--shape, --spacing)."


def plan_deepsparse(
    shapes: InputShapes, about: Mapping[str, Any], budget: Budget, extra: ExtraViews
) -> Plan:
    """Return the plan of one reconstruction.

    Parameters
    ----------
    shapes
        Scan and grid.
    about
        What the weights say about themselves: ``options`` and ``views``.
    budget
        Memory, cores, device.
    extra
        What is done with more views than the network was trained for.

    Raises
    ------
    InputError
        If scan or grid are missing.
    DoesNotFit
        If memory does not suffice.
    """
    scan, _ = shapes.require_scan()
    most = max(about["views"])
    passes = 1 if extra is ExtraViews.ALL else -(-scan.views // most)
    at_once = -(-scan.views // passes)
    sizes = about["options"]
    work = _work_bytes(sizes, at_once)
    readings = 4 * scan.views * (sizes["pixels"] ** 2)
    host = BASE_BYTES + _TORCH_BYTES + 8 * shapes.voxels + 4 * shapes.readings + readings
    on_host = budget.device == "cpu"
    host += work if on_host else 0
    require_fit(host, budget, _HINT)
    if not on_host and budget.device_bytes:
        require_fit(work, Budget(budget.device_bytes), "Compute on the CPU.")
    speed = 1.0 / max(1, budget.threads) if on_host else 1.0 / _ON_CARD
    seconds = _START_S + speed * _core_seconds(sizes, scan.views, passes, shapes.voxels)
    stages = (PlannedStage("Look at the views", LOOK_SHARE),
              PlannedStage("Fill the volume", 1.0 - LOOK_SHARE))  # fmt: skip
    return Plan("torch", budget.device, budget.threads, int(host), seconds, stages,
                peak_device_bytes=0 if on_host else int(work))  # fmt: skip


def _work_bytes(sizes: Mapping[str, Any], views: int) -> int:
    """Return what the features of the views, the coarse volume and a chunk of points take."""
    widths, pixels, cells = sizes["widths"], sizes["pixels"], sizes["grid"] ** 3
    kept = sum(w * (pixels >> n) ** 2 for n, w in enumerate(widths))
    encoding = 6 * widths[0] * pixels**2
    lifting = 4 * (sum(widths) + sizes["channels"]) * cells + cells * sizes["codes"]
    point = sum(widths) + sizes["channels"]
    decoding = _POINT_COPIES * point * POINTS_AT_ONCE
    # The features of all views are put together from those of single ones: twice for a moment.
    return int(4 * (2 * views * kept + encoding + max(lifting, decoding)))


def _core_seconds(sizes: Mapping[str, Any], views: int, passes: int, voxels: int) -> float:
    widths, cells, channels = sizes["widths"], sizes["grid"] ** 3, sizes["channels"]
    encoder = 9 * widths[0] * sizes["pixels"] ** 2
    for n, (a, b) in enumerate(pairwise(widths), 1):
        encoder += (4 * a * a + 9 * a * b + 9 * b * b) * (sizes["pixels"] >> n) ** 2
    volume = 27 * cells * sum(2 * channels**2 + (w + channels) * channels for w in widths)
    point = channels + sum(widths)
    layers = [0, *sizes["hidden"]]
    decoder = sum((a + point) * b for a, b in zip(layers, [*layers[1:], 1], strict=True))
    multiplies = views * encoder + passes * (volume + voxels * decoder)
    read = voxels * (views * sum(widths) + passes * channels * 4)
    return float(multiplies / _MULTIPLIES_PER_SECOND + read / _READ_PER_SECOND)
