"""The texts in which a derived series says what it is (layer: io).

Own texts are plain ASCII, whatever character set the source has; only the source's series
description keeps its letters.
"""

from __future__ import annotations

import json

from ctrestorelib import __version__
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom_export.copying import ascii_text
from ctrestorelib.io.dicom_export.plan import ExportPlan, Origin

_LO, _ST, _SH = 64, 1024, 16
NOT_PRIMARY = "not for primary diagnosis"


def series_description(plan: ExportPlan) -> str:
    """Return the description: the person's or the source's words, and always a mark of what it is.

    The mark is never cut off; the words before it are, if 64 bytes do not hold both.
    """
    mark = f"[{_mark(plan)}]"
    words = plan.options.description or _source_words(plan)
    clean = " ".join(words.replace("\\", "/").split())
    return f"{cut(clean, _LO - 1 - len(mark))} {mark}".strip()


def cut(text: str, limit: int) -> str:
    """Return the beginning of a text that takes at most ``limit`` bytes in UTF-8."""
    # The standard counts characters, but validators and archives count bytes.
    return text.encode("utf-8")[:limit].decode("utf-8", "ignore").rstrip()


def _source_words(plan: ExportPlan) -> str:
    if plan.origin is Origin.RECONSTRUCTED and plan.provenance is not None:
        return ascii_text(f"Recon {_views(plan.provenance)} {_short_method(plan)}", _LO)
    if plan.source is None:
        return ascii_text(_short_method(plan), _LO)
    return elements.text(plan.source.first, "SeriesDescription")


def _mark(plan: ExportPlan) -> str:
    if plan.learned:
        return f"AI {plan.origin.value}, {NOT_PRIMARY}"
    return f"{plan.origin.value}, research"


def _short_method(plan: ExportPlan) -> str:
    return plan.provenance.method if plan.provenance is not None else "CTRestore"


def _views(provenance: Provenance) -> str:
    shapes = [i.shape for i in provenance.inputs if i.role == "projections"]
    return f"{shapes[0][0]} views" if shapes and shapes[0] else ""


def derivation_description(plan: ExportPlan) -> str:
    """Return in at most 1024 characters what was done to the pixels, and with what."""
    record = plan.provenance
    head = f"{plan.origin.value.capitalize()} by CTRestore {__version__}"
    if record is None:
        return ascii_text(f"{head}; no record of the method. {_ending(plan)}", _ST)
    title = plan.options.method_title or record.method
    text = f"{head}: {title} ({record.method}, version {record.method_version})"
    if plan.origin is Origin.RECONSTRUCTED:
        text += f", from {_views(record)}"
    elif record.strength != 1:
        text += f", strength {record.strength:g}"
    text += f"; {_parameters(record)}."
    for name, digest in sorted(record.weights_sha256.items()):
        text += f" Weights {name} sha256 {digest}."
    ending = _ending(plan)
    return f"{ascii_text(text, _ST - 1 - len(ending))} {ending}"


def _parameters(record: Provenance) -> str:
    said = ", ".join(f"{k}={_plain(v)}" for k, v in sorted(record.params.items()))
    return f"parameters {said}" if said else "no parameters"


def _plain(value: object) -> str:
    # A parameter may name a file; folders tell about persons and computers.
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return "(a file)"
    return value if isinstance(value, str) else json.dumps(value)


def _ending(plan: ExportPlan) -> str:
    kernel = (
        "Noise and sharpness differ from what the convolution kernel says. "
        if plan.origin is Origin.DENOISED
        else ""
    )
    return f"{kernel}Research use only; {NOT_PRIMARY}."


def kernel_label(plan: ExportPlan) -> str:
    """Return what stands in place of a kernel for a reconstruction of ours."""
    name = plan.provenance.method if plan.provenance is not None else "CTRESTORE"
    return ascii_text(name.upper(), _SH)


def software_versions(plan: ExportPlan) -> list[str]:
    """Return our version, the method's, and the hashes of the weights; 64 characters each."""
    said = [f"CTRestore {__version__}"]
    if plan.provenance is not None:
        said.append(f"{plan.provenance.method} {plan.provenance.method_version}")
        said += [digest for _, digest in sorted(plan.provenance.weights_sha256.items())]
    return [ascii_text(text, _LO) for text in said]


def record_json(record: Provenance) -> str:
    """Return the record for the private block: without source UIDs, curves and folders."""
    plain = record.to_json()
    plain.pop("report")
    plain["inputs"] = [{**i, "sop_instance_uids": []} for i in plain["inputs"]]
    plain["params"] = {k: _scrubbed(v) for k, v in plain["params"].items()}
    plain["options"] = {k: _scrubbed(v) for k, v in plain["options"].items()}
    return json.dumps(plain, ensure_ascii=True, separators=(",", ":"), allow_nan=True)


def _scrubbed(value: object) -> object:
    return _plain(value) if isinstance(value, str) else value
