"""Runs the whole benchmark, or the part that is still missing, and writes the page.

Parts: ``train`` teaches the peer U-Net; ``scores`` runs every method on every case; ``speed`` times
one large volume; ``gallery`` draws. Each result is kept when it is made, so that a stopped run goes
on where it was, and a result is made again only if its case, parameters or weights changed. Methods
that come later are added without repeating the others.
"""

from __future__ import annotations

import argparse
import shlex
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common.bars import Bar
from common.choice import is_wanted
from common.scans import REPOSITORY
from common.store import Store
from common.tables import write_text

from sparse_view import bars, gallery, speed, table, unet
from sparse_view.cases import case_names, load_case
from sparse_view.methods import DEFAULT, METHODS, PEER, Method, absence, fingerprint, outcome
from sparse_view.scores import scores
from sparse_view.unet import Schooling

PAGE = REPOSITORY / "Docs" / "reference" / "sparse-view-table.md"
OUT = REPOSITORY / "out" / "bench-sparse-view"
PARTS = ("train", "scores", "speed", "gallery")
CELLS = (64, 96, 128, 256)
DEFAULT_CELLS = 96
"""Largest of :data:`CELLS` whose whole table takes about two hours on two cores."""


@dataclass(frozen=True)
class Work:
    """One thing to compute, in a process of its own or in this one."""

    case: str
    method: Method
    folder: Path
    schooling: Schooling

    @property
    def key(self) -> str:
        """Name of the case at this size, under which results are kept."""
        return f"{self.case}-{self.schooling.cells}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 if something failed or a bar was missed."""
    options = _options(arguments)
    start = time.perf_counter()
    store = Store(Path(options.out))
    schooling = Schooling(options.cells, options.unet_items, options.unet_steps)
    names = case_names(options.only)
    chosen = [m for m in METHODS if is_wanted(m, options.methods)]
    if options.list:
        print("\n".join([*names, *(m.name for m in chosen)]))
        return 0
    parts = options.parts.split(",")
    if "train" in parts and any(m.name == PEER for m in chosen):
        unet.trained(schooling, store.folder, print)
    absent = {m.name: why for m in chosen if (why := absence(m, schooling, store.folder))}
    able = [m for m in chosen if m.name not in absent]
    failed = run_all(plan(store, names, able, schooling), options.processes) \
        if "scores" in parts else 0  # fmt: skip
    timed = speed.measured(store, able, options.speed_cells) if "speed" in parts else {}
    rows = _rows(store, names, able, schooling)
    found = _bars(rows, timed if "speed" in parts else None, chosen)
    page = table.write_page(rows, found, absent, timed, options.cells, command_of(options))
    if "gallery" in parts:
        draw(store, rows, schooling)
    _write_page(page, options)
    print(page)
    minutes = (time.perf_counter() - start) / 60
    print(f"{minutes:.1f} min; {failed} failed; results in {store.folder}")
    return 1 if failed or any(b.met is False for b in found) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench sparse_view", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", default=str(OUT), help="folder of results, cases and pictures")
    parser.add_argument("--cells", type=int, default=DEFAULT_CELLS,
                        help=f"voxels along an edge, usually of {CELLS}")  # fmt: skip
    parser.add_argument("--only", default="", help="cases, subjects or variants by comma, "
                        "e.g. chest,knee-10,pelvis-10-1e5,offset")  # fmt: skip
    parser.add_argument("--methods", default="", help="methods or groups by comma; default: all")
    parser.add_argument("--parts", default=",".join(PARTS), help="of " + ", ".join(PARTS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--unet-items", type=int, default=Schooling.items)
    parser.add_argument("--unet-steps", type=int, default=Schooling.steps)
    parser.add_argument("--speed-cells", type=int, default=256, help="edge of the timed volume")
    parser.add_argument("--page", default="", help="Markdown file to write; default: the docs "
                        "page after a full run, else nothing")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="name cases and methods")
    return parser.parse_args(arguments)


def plan(
    store: Store, names: Sequence[str], chosen: Sequence[Method], schooling: Schooling
) -> list[list[Work]]:
    """Return what is missing: one list per case, whose work is done in order by one process."""
    todo = []
    for name in names:
        works = [Work(name, m, store.folder, schooling) for m in chosen]
        missing = [w for w in works if _kept(store, w) is None]
        if missing:
            todo.append(missing)
    return todo


def _kept(store: Store, work: Work) -> dict[str, Any] | None:
    mark = fingerprint(work.method, work.schooling, store.folder)
    return store.read("scores", work.key, work.method.name, mark)


def run_all(cases: Sequence[Sequence[Work]], processes: int) -> int:
    """Do all work, case by case, printing a line for each result; return how many failed."""
    if processes <= 1:
        return sum(_told(line) for works in cases for line in do_case(works))
    failed = 0
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_all_lines, works) for works in cases]):
            failed += sum(_told(line) for line in future.result())
    return failed


def _told(line: tuple[str, bool]) -> bool:
    print(line[0], flush=True)
    return line[1]


def _all_lines(works: Sequence[Work]) -> list[tuple[str, bool]]:
    return list(do_case(works))


def do_case(works: Sequence[Work]) -> Iterator[tuple[str, bool]]:
    """Do the work of one case; yield what to print, and whether it failed."""
    import torch

    torch.set_num_threads(1)
    for work in works:
        title = f"{work.key} {work.method.name}"
        try:
            yield f"{title}: {do(work)}", False
        except Exception:  # noqa: BLE001 - one failed result must not stop the others
            yield f"{title}: FAILED\n{traceback.format_exc()}", True


def do(work: Work) -> str:
    """Run one method on one case and keep the result; return what to print."""
    case = load_case(work.case, work.schooling.cells, work.folder)
    made = outcome(work.method, case, work.schooling, work.folder)
    store = Store(work.folder)
    record: dict[str, Any] = {
        "fingerprint": fingerprint(work.method, work.schooling, work.folder),
        "group": work.method.group, "seconds": made.seconds, "peak_mb": made.peak_mb,
        "settings": dict(made.settings), **scores(case, made.volume, made.uncertainty),
    }  # fmt: skip
    store.keep_values(work.key, work.method.name, made.volume.values)
    store.write("scores", work.key, work.method.name, record)
    return (f"PSNR {record['psnr']:.2f} / {record['psnr_in_view']:.2f} dB, "
            f"chi-squared {record['chi_squared']:.2f}, {made.seconds:.1f} s")  # fmt: skip


def _rows(
    store: Store, names: Sequence[str], chosen: Sequence[Method], schooling: Schooling
) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        works = [Work(name, m, store.folder, schooling) for m in chosen]
        kept = {w.method.name: r for w in works if (r := _kept(store, w)) is not None}
        if kept:
            rows[name] = kept
    return rows


def _bars(
    rows: dict[str, dict[str, Any]], timed: dict[str, dict[str, Any]] | None, chosen: list[Method]
) -> list[Bar]:
    """Return what the default must show; nothing in a run that it was not chosen for."""
    if not any(m.name == DEFAULT for m in chosen):
        return []
    return [*bars.check(rows), *([] if timed is None else bars.speed_bars(timed))]


def command_of(options: argparse.Namespace) -> str:
    """Return the command that computes the same rows and columns again."""
    words = [table.COMMAND, "--cells", str(options.cells)]
    for name in ("only", "methods"):
        if value := getattr(options, name):
            words += [f"--{name}", shlex.quote(value)]
    return " ".join(words)


def _write_page(page: str, options: argparse.Namespace) -> None:
    is_full = not (options.only or options.methods) and set(options.parts.split(",")) == set(PARTS)
    target = options.page or (PAGE if is_full else "")
    if target:
        write_text(page, Path(target))


def draw(store: Store, rows: dict[str, dict[str, Any]], schooling: Schooling) -> None:
    """Draw every case, and say which three are the worst for the last method of the table."""
    errors: dict[str, float] = {}
    for name, row in rows.items():
        case = load_case(name, schooling.cells, store.folder)
        key = f"{name}-{schooling.cells}"
        kept = {n: store.values(key, n) for n in row}
        shown = {n: v for n, v in kept.items() if v is not None}
        if shown:
            main_ = list(shown)[-1]
            gallery.sheet(case, shown, main_, store.folder / "gallery" / f"{key}.png")
            errors[name] = row[main_]["rmse"]
    worst = sorted(errors, key=lambda n: -errors[n])[:3]
    print("Worst cases: " + ", ".join(f"{n} ({errors[n]:.0f} HU)" for n in worst))
