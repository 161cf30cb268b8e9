"""The demo: every method on one knee (or one's own scan), measured and shown (layer: apps).

A virtual scanner takes many noisy views of the object; the volume reconstructed from them goes
through every denoiser. Then it takes few views, and every reconstructor makes a volume of them.
All methods run with their defaults, on the same data, through the same runner as real work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ctrestorelib.apps.demo_cases import (
    DemoCase,
    DemoSize,
    ScanObject,
    knee_case,
    own_case,
    resampled,
)
from ctrestorelib.apps.demo_results import (
    DemoEntry,
    DemoPart,
    DemoResult,
    Ruler,
    fit_to_views,
)
from ctrestorelib.core.errors import Cancelled, CTRestoreError, UsageError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.job import Event, Job, Stage
from ctrestorelib.core.params import params_to_json
from ctrestorelib.core.provenance import environment
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.io.projections import write_projections
from ctrestorelib.io.volumes import write_volume
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import run_job
from ctrestorelib.methods.registry import menu_of, method
from ctrestorelib.physics.virtual_scan import ScanProtocol, virtual_scan
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.restorer.spec import Kind, Role

LOW_DOSE_I0 = 3e3
SPARSE_I0 = 1e5
FULL_METHOD = "fdk"
SOD_MM, SDD_MM = 1000.0, 1500.0
_FINE_PIXELS = 0.75  # of a voxel: a scan with many views shall resolve what its grid can hold

_PRIOR_NOTE = (
    "Uses the low-dose volume of the first part as an earlier scan of the same patient. The other "
    "methods have no such help: do not rank it with them."
)


def run_demo(
    out: Path,
    *,
    input_path: Path | None = None,
    quick: bool = False,
    views: int = 10,
    implant: bool = False,
    methods: Sequence[str] = (),
    seed: int = 0,
    size: DemoSize | None = None,
    job: Job | None = None,
    tell: Callable[[str], None] | None = None,
) -> DemoResult:
    """Run the demo and write report, volumes, provenance and summary into ``out``.

    Parameters
    ----------
    out
        Folder, made if needed; files of an earlier demo in it are replaced.
    input_path
        A person's own CT volume instead of the procedural knee.
    quick
        Smaller volumes, fewer views.
    views
        Views of the sparse scan.
    implant
        Give the knee a metal plate.
    methods
        Only these denoisers and reconstructors; all if empty.
    seed
        Fixes the knee and all noise.
    size
        Sizes other than those of ``quick``.
    job
        Progress and cancel.
    tell
        Receives sentences that say what happens.

    Raises
    ------
    CTRestoreError
        If the input cannot be read or the folder cannot be written to. A single method's failure is
        shown in the report instead.
    Cancelled
        If the job was cancelled; files written so far stay.
    """
    if views < 2:
        message = f"The sparse scan needs at least 2 views; got {views}."
        raise UsageError(message)
    started = time.monotonic()
    size = size or (DemoSize.quick() if quick else DemoSize())
    chosen = frozenset(method(method_id).spec.id for method_id in methods)
    bench = Bench(out, seed, job or Job(seed=seed), tell or (lambda _text: None), chosen)
    case = _prepare(bench, size, input_path, implant=implant)
    parts: list[DemoPart] = []
    if case.noisy is not None:
        parts.append(own_part(bench, case.noisy, case.sop_instance_uids))
    elif case.dense is not None:
        parts.append(low_dose_part(bench, case.dense, size.full_views))
    if case.sparse is not None:
        earlier = None if case.dense is None else _named(parts[0], "original").volume
        parts.append(sparse_part(bench, case.sparse, views, earlier))
    return _finish(bench, case, tuple(parts), round(time.monotonic() - started, 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One method to run in one part of the demo.

    Parameters
    ----------
    part, name
        Together the name of the file.
    ruler
        What measures the result.
    uids
        DICOM identity of the input.
    notes
        What sets this trial apart.
    """

    part: str
    name: str
    title: str
    method_id: str
    inputs: Inputs
    ruler: Ruler
    uids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Place:
    """Where a trial stands among the trials of its stage."""

    stage: Stage
    index: int = 0
    count: int = 1

    def forward(self, event: Event) -> None:
        """Pass the progress of an inner job on to the demo's own."""
        if event["kind"] == "progress":
            self.stage.done((self.index + float(event["fraction"])) / self.count)
        else:
            self.stage.job.check()


@dataclass(frozen=True, eq=False)
class Bench:
    """What all steps share: output folder, seed, progress, someone to tell, methods to run."""

    out: Path
    seed: int
    job: Job
    tell: Callable[[str], None]
    chosen: frozenset[str] = frozenset()

    def methods(self, kind: Kind) -> list[str]:
        """Return the ids of the methods of a kind to run.

        The best denoiser comes first; of the reconstructors FDK, which everybody knows.
        """
        found = [i for i in menu_of(kind) if not self.chosen or i in self.chosen]
        return sorted(found, key=lambda method_id: method_id != FULL_METHOD)

    def scan(
        self, part: str, scanned: ScanObject, protocol: ScanProtocol, share: float
    ) -> ProjectionSet:
        """Scan the object virtually and keep the projections."""
        with self.job.stage("Take X-ray views", share) as stage:
            inner = Job(emit=Place(stage).forward, seed=self.seed)
            projections = virtual_scan(scanned.volume, protocol, inner)
        write_projections(projections, self.out / f"{part}_scan.mha")
        return projections

    def show(
        self, part: str, name: str, title: str, volume: Volume, ruler: Ruler | None = None
    ) -> DemoEntry:
        """Keep a volume that no method made."""
        file = f"{part}_{name}.nii"
        write_volume(volume, self.out / file)
        measures = {} if ruler is None else ruler.measure(volume)
        return DemoEntry(name, title, volume, None, measures, file)

    def run(self, trial: Trial, place: Place) -> DemoEntry:
        """Run one method in its own process, measure the result and keep it."""
        request = JobRequest(
            trial.method_id, trial.inputs, seed=self.seed, sop_instance_uids=trial.uids
        )
        result = run_job(request, place.forward, self._cancelled)
        measures = trial.ruler.measure(result.volume) | fit_to_views(result.report)
        warnings = tuple(w["text"] for w in result.provenance.warnings)
        file = f"{trial.part}_{trial.name}.nii"
        write_volume(result.volume, self.out / file)
        result.provenance.write(self.out / file.replace(".nii", ".json"))
        return DemoEntry(
            trial.name, trial.title, result.volume, result.provenance.seconds, measures, file,
            (*trial.notes, *warnings),
        )  # fmt: skip

    def compare(
        self, trials: list[Trial], stage_title: str, share: float
    ) -> tuple[list[DemoEntry], list[tuple[str, str]]]:
        """Run several methods; what one refuses is told, not hidden, and the others go on."""
        entries: list[DemoEntry] = []
        left_out: list[tuple[str, str]] = []
        with self.job.stage(stage_title, share) as stage:
            for n, trial in enumerate(trials):
                self.tell(f"{n + 1} of {len(trials)}: {trial.title}")
                try:
                    entries.append(self.run(trial, Place(stage, n, len(trials))))
                except Cancelled:
                    raise
                except CTRestoreError as error:
                    left_out.append((trial.title, str(error)))
                    self.tell(f"   left out: {error}")
                else:
                    self.tell(f"   {entries[-1].sentence()}")
        return entries, left_out

    def _cancelled(self) -> bool:
        try:
            self.job.check()
        except Cancelled:
            return True
        return False


def low_dose_part(bench: Bench, scanned: ScanObject, views: int) -> DemoPart:
    """Scan at low dose with many views, reconstruct, and denoise with every method."""
    protocol = _protocol(scanned, views, 360.0, LOW_DOSE_I0, _FINE_PIXELS)
    ruler = Ruler(scanned.truth)
    bench.tell(f"Scanning it virtually: {views} views around, at a low dose.")
    projections = bench.scan("low_dose", scanned, protocol, 0.14)
    bench.tell("Reconstructing the scan the usual way (FDK).")
    with bench.job.stage("Reconstruct the low-dose scan", 0.05) as stage:
        trial = Trial(
            part="low_dose", name="original", title="Low-dose scan as it comes (FDK)",
            method_id=FULL_METHOD, ruler=ruler,
            inputs=Inputs(projections=projections, grid=scanned.truth.geometry),
        )  # fmt: skip
        noisy = bench.run(trial, Place(stage))
    bench.tell(f"   {noisy.sentence()}")
    truth = bench.show("low_dose", "truth", "Truth (what was scanned)", scanned.truth)
    trials = _denoisers(bench, noisy.volume, replace(ruler, original=noisy.volume))
    entries, left_out = bench.compare(trials, "Remove noise", 0.3)
    intro = (
        f"A virtual scanner took {views} X-ray views of the knee at a low dose "
        f"({LOW_DOSE_I0:g} photons per pixel), and a volume was reconstructed from them (FDK). "
        "Every denoiser then worked on this volume with its default settings. What was scanned is "
        "known exactly, so errors can be measured."
    )
    return DemoPart(
        "low_dose", "Less noise", intro, (truth, noisy, *entries), tuple(left_out),
        params_to_json(protocol),
    )  # fmt: skip


def own_part(bench: Bench, volume: Volume, uids: tuple[str, ...]) -> DemoPart:
    """Denoise a person's own volume with every method."""
    ruler = Ruler(None, volume)
    original = bench.show("low_dose", "original", "Your scan as it is", volume, ruler)
    bench.tell(f"Your scan: {original.sentence()}")
    trials = _denoisers(bench, volume, ruler, uids)
    entries, left_out = bench.compare(trials, "Remove noise", 0.49)
    intro = (
        "Every denoiser worked on your scan with its default settings. There is no noise-free "
        "version to compare with, so the table shows how much noise is left and whether the "
        "removed noise contains anatomy."
    )
    return DemoPart("low_dose", "Less noise", intro, (original, *entries), tuple(left_out))


def sparse_part(bench: Bench, scanned: ScanObject, views: int, earlier: Volume | None) -> DemoPart:
    """Scan with few views and reconstruct with every method.

    ``earlier`` is a full scan of the same object, for methods that need a prior volume.
    """
    protocol = _protocol(scanned, views, 180.0, SPARSE_I0, 1.0)
    bench.tell(f"Scanning with only {views} views over half a turn.")
    projections = bench.scan("sparse", scanned, protocol, 0.03)
    ruler = Ruler(scanned.truth)
    truth = bench.show("sparse", "truth", "Truth (what was scanned)", scanned.truth)
    trials = []
    for method_id in bench.methods(Kind.RECONSTRUCTOR):
        needs_prior = Role.PRIOR_VOLUME in method(method_id).spec.needs.required
        prior = None
        if needs_prior and earlier is not None:
            prior = resampled(earlier, scanned.truth.geometry).to_unit(Unit.PER_MM)
        trials.append(
            Trial(
                part="sparse", name=method_id, title=method(method_id).spec.title,
                method_id=method_id, ruler=ruler,
                inputs=Inputs(projections=projections, grid=scanned.truth.geometry, prior=prior),
                notes=(_PRIOR_NOTE,) if prior is not None else (),
            )
        )  # fmt: skip
    entries, left_out = bench.compare(trials, "Reconstruct from few views", 0.35)
    intro = (
        f"Now the scanner took only {views} X-ray views over half a turn, at {SPARSE_I0:g} photons "
        "per pixel. Every reconstruction method made a volume of the same views with its default "
        "settings. With so few views every method guesses between them: look at fine structures "
        "with suspicion."
    )
    return DemoPart(
        "sparse", f"A volume from {views} X-ray views", intro, (truth, *entries), tuple(left_out),
        params_to_json(protocol),
    )  # fmt: skip


def _prepare(bench: Bench, size: DemoSize, input_path: Path | None, *, implant: bool) -> DemoCase:
    with bench.job.stage("Prepare the object", 0.08):
        if input_path is None:
            bench.tell("Building a knee from formulas: bones, cartilage, muscles, fat, skin.")
            case = knee_case(size, bench.seed, implant=implant)
        else:
            bench.tell(f"Reading {input_path.name}.")
            case = own_case(input_path, size)
    for note in case.notes:
        bench.tell(f"Note: {note}")
    return case


def _denoisers(
    bench: Bench, noisy: Volume, ruler: Ruler, uids: tuple[str, ...] = ()
) -> list[Trial]:
    return [
        Trial(part="low_dose", name=method_id, title=method(method_id).spec.title,
              method_id=method_id, inputs=Inputs(volume=noisy), ruler=ruler, uids=uids)
        for method_id in bench.methods(Kind.DENOISER)
    ]  # fmt: skip


def _protocol(
    scanned: ScanObject, views: int, arc_deg: float, i0: float, pixel: float
) -> ScanProtocol:
    pixel_mm = pixel * min(scanned.truth.geometry.spacing_mm) * SDD_MM / SOD_MM
    return ScanProtocol(
        views=views, arc_deg=arc_deg, i0=i0, sod_mm=SOD_MM, sdd_mm=SDD_MM, pixel_mm=pixel_mm,
        refine=scanned.refine,
    )  # fmt: skip


def _named(part: DemoPart, name: str) -> DemoEntry:
    return next(entry for entry in part.entries if entry.name == name)


def _finish(
    bench: Bench, case: DemoCase, parts: tuple[DemoPart, ...], seconds: float
) -> DemoResult:
    from ctrestorelib.apps.demo_report import write_demo_report

    result = DemoResult(
        bench.out / "report.html", bench.out / "summary.json", case.title, parts, case.notes,
        seconds,
    )  # fmt: skip
    with bench.job.stage("Write the report", 0.05):
        bench.tell("Writing the report.")
        write_demo_report(result)
        record: dict[str, Any] = {
            "format": "ctrestore-demo",
            "version": 1,
            "title": case.title,
            "seed": bench.seed,
            "seconds": seconds,
            "notes": list(case.notes),
            "parts": [part.to_json() for part in parts],
            "environment": environment(),
        }
        with atomic_path(result.summary) as temporary:
            text = json.dumps(record, indent=2, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")
    return result
