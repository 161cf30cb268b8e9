"""Every method of the benchmark: what it is, what its result depends on, how it is run.

Whoever gets help from the reference is marked: ``tv tuned`` chooses its weight with it. All others
run as a person gets them who sets nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from common.choice import digest, registered_parts
from common.store import Store

from ctrestorelib.core.volume import Volume
from ctrestorelib.methods.registry import all_methods, lacks, method
from sparse_view import unet
from sparse_view.cases import Case
from sparse_view.objects import VERSION
from sparse_view.running import Effort, Outcome, hu, run_method
from sparse_view.tuned_tv import tuned
from sparse_view.unet import Schooling

DEFAULT, DEEPSPARSE = "cts", "deepsparse"
TV, TUNED, SART, PEER = "tv", "tv tuned", "os-sart", "unet"
CLASSICAL, ORACLE, FITTED, LEARNED = "classical", "oracle", "per scan", "learned"


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Parameters
    ----------
    name, group
        Identifier, and one of the groups of this module.
    registered
        Identifier in the library, "" for what exists in the benchmark only.
    about
        What a reader should know.
    """

    name: str
    group: str
    registered: str
    about: str


METHODS = (
    Method("fdk", CLASSICAL, "fdk", "filtered backprojection"),
    Method(SART, CLASSICAL, "os-sart", "algebraic reconstruction"),
    Method(TV, CLASSICAL, "tv", "total variation, smoothing found from the noise"),
    Method(TUNED, ORACLE, "tv", "total variation, weight chosen with the reference"),
    Method(
        "tv-views", CLASSICAL, "tv-views", "total variation, smoothing chosen by views set aside"
    ),
    Method("naf", FITTED, "naf", "field fitted to the scan, no training data"),
    Method(PEER, LEARNED, "", "2-D U-Net on FDK slices (as FBPConvNet), trained here"),
    Method(DEEPSPARSE, LEARNED, "deepsparse", "DeepSparse, trained by us"),
    Method(DEFAULT, LEARNED, "cts", "the default of CTRestore"),
)


def absence(chosen: Method, schooling: Schooling, store: Path) -> str:
    """Return why a method cannot take part, as a sentence, or ""."""
    if chosen.name == PEER:
        there = unet.identity(schooling, store)
        return "" if there else "It is not trained yet (part `train` of the benchmark)."
    if chosen.registered not in all_methods():
        return "It is not part of this version."
    return lacks(method(chosen.registered))


def fingerprint(chosen: Method, schooling: Schooling, store: Path) -> str:
    """Return what a kept result depends on besides the case."""
    parts = [str(VERSION), str(schooling.cells), chosen.name]
    if chosen.registered in all_methods():
        parts += registered_parts(chosen.registered, _settings(chosen.registered))
    if chosen.name == PEER:
        parts.append(unet.identity(schooling, store))
    return digest(parts)


def outcome(chosen: Method, case: Case, schooling: Schooling, store: Path) -> Outcome:
    """Run a method on a case.

    The seconds of tuned TV are those of one run with the weight that was found.
    """
    if chosen.name == TUNED:
        return _tuned(case, schooling, store)
    if chosen.name == PEER:
        weights = unet.trained(schooling, store)
        with Effort() as effort:
            values = unet.cleaned(case.scan, case.reference.geometry, weights)
        made = case.reference.with_values(values)
        return Outcome(made, None, effort.seconds, effort.peak_mb, {})
    return _registered(chosen.registered, case, _settings(chosen.registered))


def _settings(method_id: str) -> dict[str, float]:
    """Return what is asked of a method beyond its defaults: its expected errors, if it tells any.

    They change no voxel of the volume.
    """
    names = {f.name for f in fields(method(method_id).Params)}
    return {"uncertainty": True} if "uncertainty" in names else {}


def _registered(method_id: str, case: Case, params: dict[str, float]) -> Outcome:
    with Effort() as effort:
        estimate = run_method(method_id, case.scan, case.reference.geometry, params)
    sd = None if estimate.uncertainty is None else _sd_in_hu(estimate.volume, estimate.uncertainty)
    told = {k: estimate.report.get(k) for k in ("iterations", "smoothing_weight_mm2", "fallback")}
    settings = {k: v for k, v in told.items() if v is not None}
    return Outcome(hu(estimate.volume), sd, effort.seconds, effort.peak_mb, settings)


def _tuned(case: Case, schooling: Schooling, store: Path) -> Outcome:
    automatic = next(m for m in METHODS if m.name == TV)
    known = Store(store).read("scores", f"{case.name}-{schooling.cells}", TV,
                              fingerprint(automatic, schooling, store))  # fmt: skip
    settings = known["settings"] if known else _registered("tv", case, {}).settings
    volume, weight = tuned(case, settings.get("smoothing_weight_mm2"))
    once = _registered("tv", case, {"weight": weight})
    return Outcome(volume, None, once.seconds, once.peak_mb, {"smoothing_weight_mm2": weight})


def _sd_in_hu(volume: Volume, uncertainty: Volume) -> Volume:
    """Return a standard deviation in HU; a difference has no offset, so units only scale it."""
    zero = volume.with_values(volume.values * 0)
    per_unit = hu(zero.with_values(zero.values + 1)).values - hu(zero).values
    return hu(zero).with_values(uncertainty.values * per_unit)
