"""A record as the command line or the Python script that makes the result again (layer: mrml).

A record names no files, so the recipes hold placeholders in capital letters.
"""

from __future__ import annotations

import shlex
from typing import Any

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.units import Unit

PLACEHOLDERS = {
    "volume": "INPUT",
    "projections": "PROJECTIONS",
    "prior": "PRIOR",
    "mask": "MASK",
    "grid": "GRID",
    "output": "OUTPUT.nrrd",
}
"""What to put real file names for. GRID is any volume on the grid of the result."""


def command_line_of(record: Provenance, *, input_unit: Unit | None = None) -> str:
    """Return the ``ctrestore`` command that makes the recorded result again.

    Parameters
    ----------
    record
        How a result was made.
    input_unit
        What the input's values mean, where its file does not say; denoisers only.

    Raises
    ------
    InputError
        If the command line has no way to give the inputs.
    """
    roles = _roles(record)
    words = ["ctrestore"]
    if "projections" in roles:
        words += ["reconstruct", PLACEHOLDERS["projections"], PLACEHOLDERS["output"]]
    else:
        words += ["denoise", PLACEHOLDERS["volume"], PLACEHOLDERS["output"]]
    words += _option("method", record.method)
    for name, value in record.params.items():
        words += _option(name, value)
    if "projections" in roles:
        words += _reconstruction_options(record)
    else:
        words += _denoising_options(record, input_unit)
    for role in ("prior", "mask"):
        words += _option(role, PLACEHOLDERS[role] if role in roles else None)
    return shlex.join(words + _run_options(record))


def python_of(record: Provenance, *, input_unit: Unit | None = None) -> str:
    """Return a Python script that makes the recorded result again.

    Parameters
    ----------
    record
        How a result was made.
    input_unit
        What the input's values mean, where its file does not say; denoisers only.

    Raises
    ------
    InputError
        If the inputs are of a kind that no file holds.
    """
    roles = _roles(record)
    reconstruct = "projections" in roles
    arguments = {
        "method_id": repr(record.method),
        "inputs": "inputs",
        "params": repr({k: v for k, v in record.params.items() if v is not None}),
        **(_python_output(record) if reconstruct else _python_strength(record)),
        "seed": repr(record.seed),
        "budget": f"Budget(**{record.options['budget']!r})",
    }
    lines = [
        *_IMPORTS,
        *(_python_scan(record, roles) if reconstruct else _python_volume(roles, input_unit)),
        "request = JobRequest(",
        *(f"    {name}={value}," for name, value in arguments.items()),
        ")",
        "result = run_job(request)",
        f'write_volume(result.volume, "{PLACEHOLDERS["output"]}")',
    ]
    return "\n".join(lines) + "\n"


def _roles(record: Provenance) -> set[str]:
    roles = {i.role for i in record.inputs}
    if not ({"volume"} <= roles or {"projections"} <= roles) or not roles <= set(PLACEHOLDERS):
        message = f"A result made from {', '.join(sorted(roles)) or 'nothing'} has no recipe."
        raise InputError(message, hint="Run the method again in the panel.")
    return roles


def _option(name: str, value: Any) -> list[str]:
    """Return an option as words; None means automatic, which is what leaving it out means."""
    option = name.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    text = value if isinstance(value, str) else repr(value)
    return [f"--{option}={text}"] if text.startswith("-") else [f"--{option}", text]


def _denoising_options(record: Provenance, input_unit: Unit | None) -> list[str]:
    words = _option("strength", record.strength)
    region = record.options.get("region_kji")
    if region is not None:
        words += _option("roi", ",".join(f"{a}:{b}" for a, b in reversed(region)))
    return words + _option("input_unit", None if input_unit is None else input_unit.value)


def _reconstruction_options(record: Provenance) -> list[str]:
    unit = Unit(record.options["output_unit"]).value.replace("_", "-")
    return [
        *_option("like", PLACEHOLDERS["grid"]),
        *_option("unit", unit),
        *_option("mu_water", record.options["mu_water_per_mm"]),
    ]


def _run_options(record: Provenance) -> list[str]:
    budget = record.options.get("budget", {})
    memory = budget.get("host_bytes")
    return [
        *_option("seed", record.seed),
        *_option("threads", budget.get("threads")),
        *_option("memory_gb", None if memory is None else memory / 2**30),
    ]


_IMPORTS = (
    "from ctrestorelib.core.units import Unit",
    "from ctrestorelib.core.volume import VolumeGeometry",
    "from ctrestorelib.io.projections import read_projections",
    "from ctrestorelib.io.volumes import read_volume, write_volume",
    "from ctrestorelib.jobs.request import JobRequest",
    "from ctrestorelib.jobs.runner import run_job",
    "from ctrestorelib.restorer.plan import Budget",
    "from ctrestorelib.restorer.protocol import Inputs",
    "",
)


def _python_volume(roles: set[str], unit: Unit | None) -> list[str]:
    given = "" if unit is None else f", unit=Unit({unit.value!r})"
    return [
        f'volume = read_volume("{PLACEHOLDERS["volume"]}"{given}).volume',
        f"inputs = Inputs(volume=volume{_python_mask(roles)})",
    ]


def _python_scan(record: Provenance, roles: set[str]) -> list[str]:
    lines = [
        f'projections = read_projections("{PLACEHOLDERS["projections"]}").projections',
        f"grid = VolumeGeometry.from_json({record.options['grid']!r})",
    ]
    prior = ""
    if "prior" in roles:
        mu = record.options["mu_water_per_mm"]
        read = f'read_volume("{PLACEHOLDERS["prior"]}").volume'
        lines.append(f"prior = {read}.to_unit(Unit.PER_MM, {mu!r})")
        prior = ", prior=prior"
    inputs = f"projections=projections, grid=grid{prior}{_python_mask(roles)}"
    return [*lines, f"inputs = Inputs({inputs})"]


def _python_mask(roles: set[str]) -> str:
    if "mask" not in roles:
        return ""
    return f', mask=read_volume("{PLACEHOLDERS["mask"]}").volume.values > 0.5'


def _python_strength(record: Provenance) -> dict[str, str]:
    region = record.options.get("region_kji")
    ranges = None if region is None else tuple((int(a), int(b)) for a, b in region)
    return {"strength": repr(record.strength), "region_kji": repr(ranges)}


def _python_output(record: Provenance) -> dict[str, str]:
    return {
        "output_unit": f"Unit({record.options['output_unit']!r})",
        "mu_water_per_mm": repr(record.options["mu_water_per_mm"]),
    }
