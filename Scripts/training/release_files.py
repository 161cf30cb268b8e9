"""What every release writes: entries of the manifest, and model cards with a table of facts."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from ctrestorelib.core.files import atomic_path
from ctrestorelib.weights.store import check_size, sha256_of, weights_file


def enter(name: str, kinds: tuple[str, ...], about: Mapping[str, Any], into: Path) -> None:
    """Enter the files ``<name>.<kind>`` of ``into`` in its manifest, and print what they are.

    Raises
    ------
    WeightsError
        If a file is too large.
    """
    paths = [into / f"{name}.{kind}" for kind in sorted(kinds)]
    for path in paths:
        check_size(path)
    manifest_path = into / "manifest.json"
    manifest = json.loads(manifest_path.read_text()) if manifest_path.exists() else {"networks": {}}
    files = {path.suffix[1:]: _entry(path) for path in paths}
    manifest["networks"][name] = {"files": files, "about": dict(about)}
    manifest["networks"] = dict(sorted(manifest["networks"].items()))
    with atomic_path(manifest_path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")
    for kind, entry in files.items():
        checked = weights_file(name, kind, into)
        print(f"{checked.name}: {entry['bytes'] / 1e6:.2f} MB, SHA-256 {entry['sha256']}")


def _entry(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size}


def facts_of_run(folder: Path) -> dict[str, Any]:
    """Return day, steps, hours, settings and last figures of the training in a folder."""
    facts: dict[str, Any] = {"released": date.today().isoformat()}
    progress = folder / "checkpoint.json"
    if progress.exists():
        record = json.loads(progress.read_text())
        facts |= {"steps": record["step"], "training_hours": round(record["seconds"] / 3600, 2)}
        facts["settings"] = record["settings"]
    curves = folder / "curves.csv"
    if curves.exists():
        with curves.open(newline="") as file:
            rows = list(csv.DictReader(file))
        last = {n: v for row in rows for n, v in row.items() if v}  # the newest of each column
        facts["curves"] = {name: float(value) for name, value in last.items()}
    return facts


def write_card(path: Path, card: str, facts: Mapping[str, Any], marks: tuple[str, str]) -> None:
    """Write a model card, or renew the table of facts of one that people may have edited.

    Parameters
    ----------
    card
        Text of a new card; ``{facts}`` in it stands for the table.
    marks
        Comments before and after the table.
    """
    begin, end = marks
    table = f"{begin}\n\n{table_of(facts)}\n\n{end}"
    if path.exists() and begin in path.read_text():
        before, _, rest = path.read_text().partition(begin)
        text = before + table + rest.partition(end)[2]
    else:
        text = card.replace("{facts}", table)
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def table_of(facts: Mapping[str, Any]) -> str:
    """Return facts as a Markdown table; those within facts become rows of their own."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        inner = value if isinstance(value, dict) else None
        flat |= {name: value} if inner is None else {f"{name}: {n}": v for n, v in inner.items()}
    lines = [f"| {name} | {_shown(value)} |" for name, value in flat.items()]
    return "\n".join(["| fact | value |", "|---|---|", *lines])


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
