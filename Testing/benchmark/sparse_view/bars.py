"""What the default must show, checked by the program; met, missed, or not measured.

A bar looks at the cases whose name fits it and needs the rows of the methods it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.bars import Bar

from sparse_view.cases import CHANGES, CLEAN, HIGH, OFFSET, SHORT, USUAL, parts_of
from sparse_view.methods import DEEPSPARSE, DEFAULT, SART, TUNED

Record = Mapping[str, Any]
Rows = Mapping[str, Mapping[str, Record]]
"""Case -> method -> record."""

GAIN_SART_DB, GAIN_RIVAL_DB, LOSS_TV_DB = 3.0, 1.0, 0.2
CHI_SQUARED = (0.9, 1.2)
COVERED = (0.88, 0.92)
LOSS_GEOMETRY_DB, LOSS_DOSE_DB = 0.2, 1.0
SPEED_SECONDS = 180.0
FEW_VIEWS, MORE_VIEWS = (6, 8, 10), 10


def check(rows: Rows, default: str = DEFAULT) -> list[Bar]:
    """Return every bar for every case that it looks at, and those of means."""
    found = [bar for case in rows for bar in _of_case(case, rows, default)]
    return [*found, *_mean_coverage(rows, default)]


def _mean_coverage(rows: Rows, default: str) -> Iterator[Bar]:
    """Yield what 90 % intervals cover on the mean of the bodies: what a calibration can promise."""
    bodies = [c for c in rows if parts_of(c)[2] == USUAL and not parts_of(c)[0].is_outside]
    known = [rows[c].get(default, {}).get("covered") for c in bodies]
    told = [value for value in known if value is not None]
    if told:
        mean = {"covered": sum(told) / len(told)}
        yield _between("share that 90 % intervals cover, mean", f"{len(told)} scans of bodies",
                       mean, "covered", COVERED)  # fmt: skip


def _of_case(case: str, rows: Rows, default: str) -> Iterator[Bar]:
    subject, views, variant = parts_of(case)
    row = rows[case]
    mine = row.get(default)
    published = not subject.is_outside and variant in (CLEAN, USUAL)
    if published and views in FEW_VIEWS:
        yield _gain("gain over OS-SART, 6 to 10 views", case, mine, row.get(SART), GAIN_SART_DB)
        yield _gain("gain over DeepSparse, 6 to 10 views", case, mine, row.get(DEEPSPARSE),
                    GAIN_RIVAL_DB)  # fmt: skip
    if views >= MORE_VIEWS:
        promise = "never clearly under tuned TV, 10 views or more"
        if variant in (OFFSET, SHORT):
            promise = "offset detector and short scan: never clearly under tuned TV"
        yield _gain(promise, case, mine, row.get(TUNED), -LOSS_TV_DB)
    if variant == USUAL:
        yield _between("chi-squared per reading", case, mine, "chi_squared", CHI_SQUARED)
        yield _between("share that 90 % intervals cover", case, mine, "covered", COVERED)
    if variant in CHANGES:
        clean = rows.get(_sibling(case, CLEAN), {}).get(default)
        yield _loss("known change of SOD or SDD by 2 %", case, clean, mine, LOSS_GEOMETRY_DB)
    if variant == HIGH:
        usual = rows.get(_sibling(case, USUAL), {}).get(default)
        yield _loss("from 1e6 to 1e5 photons", case, mine, usual, LOSS_DOSE_DB)


def speed_bars(speed: Mapping[str, Record], default: str = DEFAULT) -> list[Bar]:
    """Return the bars of one large reconstruction; ``speed`` is method -> record."""
    record, limit = speed.get(default), f"at most {SPEED_SECONDS:g} s"
    case = "256^3 from 10 views"
    if record is None:
        return [Bar("time on two cores", case, "-", limit, None),
                Bar("memory within the plan", case, "-", "-", None)]  # fmt: skip
    seconds, peak, planned = (record[k] for k in ("wall_seconds", "peak_mb", "planned_mb"))
    fits = None if peak is None else bool(peak <= planned)
    return [
        Bar("time on two cores", case, f"{seconds:.0f} s", limit, seconds <= SPEED_SECONDS),
        Bar("memory within the plan", case, "-" if peak is None else f"{peak:.0f} MB",
            f"at most {planned:.0f} MB", fits),
    ]  # fmt: skip


def _sibling(case: str, variant: str) -> str:
    return f"{case.rpartition('-')[0]}-{variant}"


def _gain(
    promise: str, case: str, mine: Record | None, other: Record | None, least_db: float
) -> Bar:
    limit = f"at least {least_db:+g} dB"
    if mine is None or other is None:
        return Bar(promise, case, "-", limit, None)
    gain = mine["psnr"] - other["psnr"]
    return Bar(promise, case, f"{gain:+.2f} dB", limit, gain >= least_db)


def _loss(
    promise: str, case: str, before: Record | None, after: Record | None, most_db: float
) -> Bar:
    limit = f"costs under {most_db:g} dB"
    if before is None or after is None:
        return Bar(promise, case, "-", limit, None)
    loss = before["psnr"] - after["psnr"]
    return Bar(promise, case, f"{loss:+.2f} dB", limit, loss < most_db)


def _between(
    promise: str, case: str, mine: Record | None, key: str, limits: tuple[float, float]
) -> Bar:
    low, high = limits
    limit = f"{low:g} to {high:g}"
    value = None if mine is None else mine.get(key)
    if value is None:
        return Bar(promise, case, "-", limit, None)
    return Bar(promise, case, f"{value:.3f}", limit, low <= value <= high)
