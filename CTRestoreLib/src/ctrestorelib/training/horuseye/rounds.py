"""HorusEye's co-refinement rounds, resumable at every phase (layer: training).

Each round trains the extractor, fills the noise bank from its residuals, trains the denoiser on
bank noise, and lets the denoiser improve the clean set, which supervises both networks of the next
round.

References
----------
.. [1] Chu Y et al. HorusEye. Nature Computational Science 6(4):372-387, 2026.
   doi:10.1038/s43588-026-00973-3
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.volume import Volume
from ctrestorelib.networks.horuseye import architecture, build
from ctrestorelib.training.distributed import Team, join_team
from ctrestorelib.training.export import load_weights, save_weights
from ctrestorelib.training.horuseye.apply import Worker
from ctrestorelib.training.horuseye.bank import NoiseBank, bank_of
from ctrestorelib.training.horuseye.batches import CleanSet, DenoiserBatches, ExtractorBatches
from ctrestorelib.training.horuseye.losses import loss_for
from ctrestorelib.training.horuseye.purify import (
    Census,
    Patch,
    Residual,
    accepted_patches,
    reference_shares,
)
from ctrestorelib.training.horuseye.refine import Refined, refined
from ctrestorelib.training.horuseye.scans import Scan, doubts, read_scans
from ctrestorelib.training.horuseye.settings import HorusEyeSettings, InputMode
from ctrestorelib.training.loop import train
from ctrestorelib.training.settings import TrainingSettings

Report = Callable[[str], None]
_WARMUP_SHARE = 0.05


@dataclass(frozen=True)
class HorusEyeRun:
    """A finished HorusEye training.

    Parameters
    ----------
    folder
        Holds a folder per round (curves, checkpoints, noise bank, census, clean set), the record
        ``horuseye.json`` and the two weights.
    extractor, denoiser
        Weights of H_E and H_D (safetensors).
    warnings
        What the data lack for HorusEye's assumptions, in sentences.
    """

    folder: Path
    extractor: Path
    denoiser: Path
    warnings: tuple[str, ...]


def train_horuseye(
    data: Path | Sequence[Volume | Path],
    folder: Path,
    *,
    settings: HorusEyeSettings | None = None,
    report: Report | None = None,
) -> HorusEyeRun:
    """Train HorusEye on volumes without clean references, or go on with a training.

    Everything that is done is kept in ``folder``: the same call goes on where it was stopped,
    within a phase from its last checkpoint. Under ``torchrun``, every process calls this function.

    Parameters
    ----------
    data
        Folder of volumes, or volumes and files. HU and grey values both do; three slices at least.
    folder
        Receives everything.
    settings
        See :class:`HorusEyeSettings`.
    report
        Receives lines for people; by default they go to standard error.

    Raises
    ------
    InputError
        If a volume cannot be used, no residual passes for noise, or ``folder`` holds a training
        with other settings or other data.
    Cancelled
        On SIGINT or SIGTERM, after a checkpoint was written.
    """
    settings = settings or HorusEyeSettings()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    scans = read_scans(data)
    with join_team() as team:
        say = (report or _to_stderr) if team.first else _silent
        told = doubts(scans)
        for sentence in told:
            say(f"Warning: {sentence}")
        if team.first:
            _claim(folder, scans, settings, told)
        team.wait()
        rounds = _Rounds(scans, folder, settings, team, say)
        for number in range(1, settings.rounds + 1):
            rounds.run(number)
        paths = tuple(folder / f"{role}.safetensors" for role in ("extractor", "denoiser"))
        rounds.hand_over(*paths)
        team.wait()
    return HorusEyeRun(folder, paths[0], paths[1], tuple(told))


class _Rounds:
    """What the rounds pass on: networks, clean set and noise bank."""

    def __init__(
        self, scans: list[Scan], folder: Path, settings: HorusEyeSettings, team: Team, say: Report
    ) -> None:
        self.scans, self.folder, self.settings = scans, folder, settings
        self.team, self.say = team, say
        self.clean = CleanSet(tuple(s.values for s in scans), (1.0,) * len(scans))
        self.bank: NoiseBank | None = None
        self.networks: dict[str, nn.Module] = {}

    def run(self, number: int) -> None:
        """Do one round, or read what was done of it."""
        place = self.folder / f"round_{number}"
        seen = ExtractorBatches(self.scans, self.clean, self.bank, self.settings)
        self._train("extractor", number, place, seen, self.settings.extractor_steps)
        self.bank = self._fill_bank(number, place)
        shown = DenoiserBatches(self.scans, self.clean, self.bank, self.settings)
        self._train("denoiser", number, place, shown, self.settings.denoiser_steps)
        if number < self.settings.rounds:
            self.clean = self._refine(number, place, self.bank)

    def hand_over(self, extractor: Path, denoiser: Path) -> None:
        """Write the last networks with what a reader needs to build and feed them."""
        if not self.team.first:
            return
        for role, path in (("extractor", extractor), ("denoiser", denoiser)):
            name = self._name(role)
            save_weights(
                self.networks[role], path, architecture=name, mode=self.settings.mode.value,
                options=dict(self.settings.options), rounds=self.settings.rounds,
                seed=self.settings.seed,
            )  # fmt: skip

    def _name(self, role: str) -> str:
        return self.settings.networks[0 if role == "extractor" else 1]

    def _train(self, role: str, number: int, place: Path, batches: Any, steps: int) -> None:
        """Train one network of a round from where the last round left it."""
        torch.manual_seed(self.settings.seed)
        network = build(self._name(role), **self.settings.options)
        done = place / role / "final.safetensors"
        if done.exists():
            self.networks[role] = load_weights(done, network)
            return
        if role in self.networks:
            network.load_state_dict(self.networks[role].state_dict())
        self.say(f"Round {number} of {self.settings.rounds}: training the {role}.")
        noise_units = self.settings.mode is InputMode.NOISE_UNITS
        loss = loss_for(self.settings.loss, role, noise_units=noise_units)
        chosen = self._training_settings(role, number, steps)
        train(network, batches, loss, chosen, place / role, report=self.say)
        # Read back, not taken over: its layout in memory, and so the last bits of what it computes,
        # must be those of a training that goes on from here.
        fresh = build(self._name(role), **self.settings.options)
        self.networks[role] = load_weights(done, fresh)

    def _training_settings(self, role: str, number: int, steps: int) -> TrainingSettings:
        s = self.settings
        return TrainingSettings(
            steps=steps, learning_rate=s.learning_rate, precision=s.precision, threads=s.threads,
            warmup_steps=min(100, int(_WARMUP_SHARE * steps)), log_every=s.log_every,
            seed=s.seed * 1000 + 2 * number + (role == "denoiser"),
            checkpoint_seconds=s.checkpoint_seconds,
        )  # fmt: skip

    def _worker(self, role: str) -> Worker:
        network = self.networks[role].to(self.team.device).eval()
        return Worker(network, architecture(self._name(role)), self.settings.mode)

    def _fill_bank(self, number: int, place: Path) -> NoiseBank:
        path = place / "bank.npz"
        if not path.exists() and self.team.first:
            self.say(f"Round {number} of {self.settings.rounds}: filling the noise bank.")
            patches, census = extract_noise(self.scans, self._worker("extractor"), self.settings)
            _write_json(place / "census.json", census)
            rng = np.random.default_rng([self.settings.seed, number])
            bank = bank_of(patches, self.settings.bank_patches, rng)
            bank.save(path)
            self.say(f"{len(patches)} patches are noise; {len(bank)} are in the bank.")
        self.team.wait()
        return NoiseBank.load(path)

    def _refine(self, number: int, place: Path, bank: NoiseBank) -> CleanSet:
        record = place / "clean.json"
        if not record.exists() and self.team.first:
            self.say(f"Round {number} of {self.settings.rounds}: refining the clean set.")
            worker = self._worker("denoiser")
            figures = {}
            for n, scan in enumerate(self.scans):
                seed = (self.settings.seed, number, n)
                found = refined(scan, worker, bank, self.settings, seed)
                _write_array(place / "clean" / f"{n:04d}.npy", found)
                figures[scan.name] = {"replaced": found.replaced, "left": found.left}
            _write_json(record, figures)  # written last: it says that all arrays are there
        self.team.wait()
        kept = json.loads(record.read_text())
        values = tuple(
            np.load(place / "clean" / f"{n:04d}.npy", allow_pickle=False)
            for n in range(len(self.scans))
        )
        return CleanSet(values, tuple(kept[s.name]["left"] for s in self.scans))


def extract_noise(
    scans: Sequence[Scan], extractor: Worker, settings: HorusEyeSettings
) -> tuple[list[Patch], dict[str, Any]]:
    """Return the noise patches of all scans, and what became of the others by scan.

    Scans without a homogeneous region, whose spectrum is unknown, are left out.
    """
    patches: list[Patch] = []
    censuses: dict[str, Any] = {}
    for n, scan in enumerate(scans):
        census = Census()
        reference = reference_shares(scan, settings)
        if reference is not None:
            for k in range(1, len(scan.values) - 1):
                found = _residual(scan, n, k, extractor)
                patches += accepted_patches(found, reference, settings, census)
        censuses[scan.name] = asdict(census) | {"accepted": census.accepted}
    return patches, censuses


def _residual(scan: Scan, n: int, k: int, extractor: Worker) -> Residual:
    neighbours = np.stack([scan.values[k - 1], scan.values[k + 1]])
    predicted = extractor(neighbours, scan.sigma[k], scan)
    raw = extractor.visible(scan.values[k], scan)
    return Residual(raw, predicted, scan.sigma[k], scan.pixel_mm, extractor.limits(scan), n, k)


def _claim(
    folder: Path, scans: Sequence[Scan], settings: HorusEyeSettings, told: Sequence[str]
) -> None:
    """Note in the folder what is trained there; refuse a folder with something else."""
    path = folder / "horuseye.json"
    names = [s.name for s in scans]
    if path.exists():
        before = json.loads(path.read_text())
        if before["digest"] != settings.digest() or list(before["scans"]) != names:
            message = f"{folder.name!r} holds a HorusEye training with other settings or data."
            raise InputError(message, hint="Choose another folder, or repeat the same settings.")
        return
    about = {
        s.name: {
            "shape_kji": list(s.values.shape),
            "spacing_mm": list(s.spacing_mm),
            "is_hu": s.is_hu,
            "sigma": float(np.median(s.sigma)),
            "slice_correlation": s.slice_correlation,
        }
        for s in scans
    }
    record = {"settings": settings.to_json(), "digest": settings.digest(), "scans": about,
              "warnings": list(told)}  # fmt: skip
    _write_json(path, record)


def _write_json(path: Path, record: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _write_array(path: Path, found: Refined) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, found.values, allow_pickle=False)


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _silent(_line: str) -> None:
    """Take the lines of all processes but the first."""
