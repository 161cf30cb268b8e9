"""Runs the whole benchmark, or the part that is still missing, and writes the page.

Steps: build the cases; train one supervised bound per region; every method on every case; every
method on the scans without reference; segments; pictures; the page with the bars. Each result is
kept as JSON when it is made, so that a stopped run goes on where it was, and a result is made again
only if its case, parameters, weights or training effort changed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common.choice import is_wanted
from common.scans import REPOSITORY
from common.store import Store
from common.tables import write_text

from denoise import bars, bound, downstream, gallery, real_noise, table
from denoise.cases import Case, case_names, load_case
from denoise.methods import (
    BOUND,
    CLASSICAL,
    DEFAULT,
    INPUT,
    LEARNED,
    PEER,
    Effort,
    Method,
    fingerprint,
    methods,
    restored,
)
from denoise.regions import BY_NAME
from denoise.scores import scores

PAGE = REPOSITORY / "Docs" / "reference" / "denoise-table.md"
OUT = REPOSITORY / "out" / "bench-denoise"
PARTS = ("scores", "real", "segments", "gallery")


@dataclass(frozen=True)
class Work:
    """One thing to compute in a process of its own: a function of this module and its arguments."""

    kind: str
    case: str
    method: Method | None
    folder: Path
    effort: Effort

    @property
    def title(self) -> str:
        """Return what a person reads while it runs."""
        return f"{self.kind} {self.case} {self.method.name if self.method else ''}".strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 if something failed or a bar was missed."""
    options = _options(arguments)
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    start = time.perf_counter()
    store = Store(Path(options.out))
    effort = Effort(options.peer_steps, options.bound_steps)
    chosen = [m for m in methods() if m.group == INPUT or is_wanted(m, options.methods)]
    names = case_names(options.only)
    if options.list:
        print("\n".join([*names, *real_noise.scan_names(), *(m.name for m in chosen)]))
        return 0
    parts = options.parts.split(",")
    failed = run_all(plan(store, names, chosen, effort, parts, options.only), options.processes)
    page = write(store, names, chosen, effort, options, parts)
    print(page)
    print(
        f"{(time.perf_counter() - start) / 60:.1f} min; {failed} failed; results in {store.folder}"
    )
    missed = [b for b in bars.check(_rows(store, names, chosen, effort)) if b.met is False]
    return 1 if failed or missed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench denoise", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", default=str(OUT), help="folder of results, cases and pictures")
    parser.add_argument("--only", default="", help="cases or regions by comma, e.g. chest,knee-25")
    parser.add_argument("--methods", default="", help="methods or groups by comma; default: all")
    parser.add_argument("--parts", default=",".join(PARTS), help="of " + ", ".join(PARTS))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--peer-steps", type=int, default=Effort.peer_steps)
    parser.add_argument("--bound-steps", type=int, default=Effort.bound_steps)
    parser.add_argument("--page", default="", help=f"Markdown file to write, e.g. {PAGE.name}; "
                        "default: the docs page after a full run, else nothing")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="name cases, scans and methods")
    return parser.parse_args(arguments)


def plan(
    store: Store, names: Sequence[str], chosen: Sequence[Method], effort: Effort,
    parts: Sequence[str], only: str,
) -> list[list[Work]]:  # fmt: skip
    """Return what is missing, in steps that need the one before."""
    folder = store.folder

    def todo(table_: str, case: str, method: Method) -> bool:
        return store.read(table_, case, method.name, fingerprint(method, effort)) is None

    score = [
        Work("score", c, m, folder, effort)
        for c in names for m in chosen if "scores" in parts and todo("scores", c, m)
    ]  # fmt: skip
    regions = dict.fromkeys(
        w.case.rpartition("-")[0] for w in score if w.method and w.method.group == BOUND
    )
    train = [Work("train", r, None, folder, effort) for r in regions]
    scans = [s for s in real_noise.scan_names() if not only or "real" in only]
    real = [
        Work("real", s, m, folder, effort)
        for s in scans for m in chosen
        if "real" in parts and real_noise.takes_part(m) and todo("real", s, m)
    ]  # fmt: skip
    cases = [Work("case", c, None, folder, effort) for c in names]
    # Long ones first: they would keep the others waiting at the end.
    score.sort(key=lambda w: w.method is not None and w.method.group != PEER)
    return [cases, train, score + real]


def run_all(steps: Sequence[Sequence[Work]], processes: int) -> int:
    """Do all work, printing a line for each; return how many failed."""
    failed = 0
    for step in steps:
        if processes <= 1:
            failed += sum(not _told(w, i, len(step), lambda w=w: do(w)) for i, w in enumerate(step))
            continue
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            running = {pool.submit(do, w): w for w in step}
            for i, future in enumerate(as_completed(running)):
                failed += not _told(running[future], i, len(step), future.result)
    return failed


def _told(work: Work, index: int, count: int, result: Callable[[], str]) -> bool:
    try:
        said = result()
    except Exception:  # noqa: BLE001 - one failed result must not stop the others
        print(f"[{index + 1}/{count}] {work.title}: FAILED\n{traceback.format_exc()}", flush=True)
        return False
    if said:
        print(f"[{index + 1}/{count}] {work.title}: {said}", flush=True)
    return True


def do(work: Work) -> str:
    """Do one piece of work and keep its result; return what to print."""
    import torch

    torch.set_num_threads(1)
    return {"case": _do_case, "train": _do_train, "score": _do_score, "real": _do_real}[work.kind](
        work
    )


def _do_case(work: Work) -> str:
    load_case(work.case, work.folder)
    return ""


def _do_train(work: Work) -> str:
    released = bound.released_identity()
    start = time.perf_counter()
    bound.train_bound(BY_NAME[work.case], work.folder, work.effort.bound_steps, released)
    return f"{time.perf_counter() - start:.0f} s"


def _do_score(work: Work) -> str:
    assert work.method is not None
    case = load_case(work.case, work.folder)
    store = Store(work.folder)
    values, seconds, settings = restored(work.method, case, work.effort, work.folder)
    record: dict[str, Any] = {
        "fingerprint": fingerprint(work.method, work.effort), "group": work.method.group,
        "seconds": seconds, "settings": settings, **scores(case, values),
    }  # fmt: skip
    if case.region.segment is not None:
        record["segment"] = downstream.segment_scores(case, values)
    store.keep_values(work.case, work.method.name, values)
    store.write("scores", work.case, work.method.name, record)
    return f"RMSE {record['rmse']:.2f}, PSNR {record['psnr']:.2f} dB, {seconds:.1f} s"


def _do_real(work: Work) -> str:
    assert work.method is not None
    record = real_noise.measured(work.method, real_noise.read_scan(work.case), work.effort)
    record |= {"fingerprint": fingerprint(work.method, work.effort), "group": work.method.group}
    Store(work.folder).write("real", work.case, work.method.name, record)
    return f"{record['equal']['reduction_db']:.2f} dB at strength {record['strength']:.2f}"


def _rows(
    store: Store,
    names: Sequence[str],
    chosen: Sequence[Method],
    effort: Effort,
    kind: str = "scores",
) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for case in names:
        found = {m.name: store.read(kind, case, m.name, fingerprint(m, effort)) for m in chosen}
        kept = {name: record for name, record in found.items() if record is not None}
        if kept:
            rows[case] = kept
    return rows


def write(
    store: Store, names: Sequence[str], chosen: Sequence[Method], effort: Effort,
    options: argparse.Namespace, parts: Sequence[str],
) -> str:  # fmt: skip
    """Return the page, writing it and the pictures where asked."""
    rows = _rows(store, names, chosen, effort)
    facts = {name: _facts(load_case(name, store.folder)) for name in rows}
    real = _rows(store, real_noise.scan_names(), chosen, effort, "real") if "real" in parts else {}
    segments = {
        case: {n: {**r["segment"], "group": r["group"]} for n, r in row.items()}
        for case, row in rows.items() if any("segment" in r for r in row.values())
    } if "segments" in parts else {}  # fmt: skip
    page = table.write_page(rows, facts, bars.check(rows), real, segments)
    if "gallery" in parts:
        draw(store, rows)
    is_full = not (options.only or options.methods)
    target = options.page or (PAGE if is_full else "")
    if target:
        write_text(page, Path(target))
    return page


def _facts(case: Case) -> dict[str, Any]:
    return {**case.facts, "title": case.region.title, "percent": round(100 * case.dose),
            "window": case.region.window}  # fmt: skip


def draw(store: Store, rows: dict[str, dict[str, Any]]) -> None:
    """Draw the picture of every case that has a denoised volume."""
    for name, row in rows.items():
        case = load_case(name, store.folder)
        shown = {"reference": case.reference.values, "input": case.noisy.values}
        for group in (CLASSICAL, PEER):
            own = [n for n in row if row[n]["group"] == group]
            if own:
                best = min(own, key=lambda n: row[n]["rmse"])
                shown[best] = store.values(name, best)
        for learned in (n for n in row if row[n]["group"] == LEARNED):
            shown[learned] = store.values(name, learned)
        shown = {n: v for n, v in shown.items() if v is not None}
        main_ = DEFAULT if DEFAULT in shown else list(shown)[-1]
        gallery.sheet(case, shown, main_, store.folder / "gallery" / f"{name}.png")


if __name__ == "__main__":
    sys.exit(main())
