"""The bars of the default denoiser, checked by the program.

A bar is met, missed, or not measured where a method that it needs has no result. Errors are RMSE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.bars import Bar

from denoise.methods import BOUND, CLASSICAL, DEFAULT, PEER
from denoise.scores import gain_db

Rows = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Case -> method -> record with ``group`` and ``rmse``."""
GAIN_DB, BOUND_RATIO = 3.0, 1.03


def check(rows: Rows, default: str = DEFAULT) -> list[Bar]:
    """Return every bar for every case."""
    return [bar for case, row in rows.items() for bar in _of_case(case, row, default)]


def _of_case(case: str, row: Mapping[str, Mapping[str, Any]], default: str) -> list[Bar]:
    mine = row.get(default, {}).get("rmse")
    return [_gain(case, row, mine), *(_rivals(case, row, mine, g) for g in (CLASSICAL, PEER)),
            _bound(case, row, mine)]  # fmt: skip


def _gain(case: str, row: Mapping[str, Mapping[str, Any]], mine: float | None) -> Bar:
    promise, limit = "gain over the input", f"at least {GAIN_DB:g} dB"
    if mine is None or "input" not in row:
        return Bar(promise, case, "-", limit, None)
    gain = gain_db(row["input"]["rmse"], mine)
    return Bar(promise, case, f"{gain:.2f} dB", limit, gain >= GAIN_DB)


def _rivals(case: str, row: Mapping[str, Mapping[str, Any]], mine: float | None, group: str) -> Bar:
    promise = f"smaller error than every {group} method"
    rivals = {n: r["rmse"] for n, r in row.items() if r["group"] == group}
    if mine is None or not rivals:
        return Bar(promise, case, "-", "-", None)
    best = min(rivals, key=lambda n: rivals[n])
    return Bar(promise, case, f"{mine:.2f}", f"below {rivals[best]:.2f} ({best})",
               mine < rivals[best])  # fmt: skip


def _bound(case: str, row: Mapping[str, Mapping[str, Any]], mine: float | None) -> Bar:
    promise = "error close to the supervised bound"
    bounds = [r["rmse"] for r in row.values() if r["group"] == BOUND]
    limit = f"at most {BOUND_RATIO:g} times"
    if mine is None or not bounds:
        return Bar(promise, case, "-", limit, None)
    ratio = mine / min(bounds)
    return Bar(promise, case, f"{ratio:.3f} times", limit, ratio <= BOUND_RATIO)
