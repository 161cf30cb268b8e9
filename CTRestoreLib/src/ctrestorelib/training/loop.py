"""The training loop: resumable, stoppable, on one process or many (layer: training)."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import torch
from torch import nn

from ctrestorelib.core.errors import Cancelled
from ctrestorelib.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from ctrestorelib.training.curves import Curves
from ctrestorelib.training.distributed import Team, join_team
from ctrestorelib.training.export import save_weights
from ctrestorelib.training.prefetch import Batches, batches_ahead
from ctrestorelib.training.settings import TrainingRun, TrainingSettings
from ctrestorelib.training.stepper import Loss, Stepper

__all__ = ["TrainingRun", "TrainingSettings", "train"]

Validate = Callable[[nn.Module], dict[str, float]]
Report = Callable[[str], None]


def train(
    network: nn.Module,
    batches: Batches,
    loss: Loss,
    settings: TrainingSettings,
    folder: Path,
    *,
    validate: Validate | None = None,
    report: Report | None = None,
) -> TrainingRun:
    """Train a network, or go on with the training that the folder holds.

    A training that was stopped and started again gives, on one CPU thread, bit for bit the weights
    of one that ran through. Under ``torchrun`` every process calls this function; the gradient is
    the mean over the processes, and the first one writes the files.

    Parameters
    ----------
    network
        Trained in place; moved to the GPU if there is one.
    batches
        ``batches(step, rng)`` returns the tensors of one step by name. ``rng`` depends on seed,
        process and step; the batch may depend on nothing else.
    loss
        ``loss(network, batch)`` returns the value to minimise and its parts.
    settings
        See :class:`~ctrestorelib.training.settings.TrainingSettings`.
    folder
        Receives ``checkpoint.safetensors``, ``checkpoint.json``, ``curves.csv`` and, at the end,
        ``final.safetensors``.
    validate
        Called every ``validate_every`` steps and at the end with the network of mean weights;
        its figures go into the curves.
    report
        Receives lines for people; by default they go to standard error.

    Raises
    ------
    Cancelled
        On SIGINT or SIGTERM, after a checkpoint was written.
    Diverged
        If the loss is not finite; the last checkpoint stays.
    InputError
        If the folder holds another training.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    with join_team() as team, _stop_signals() as stop:
        _place(network, team.device)
        stepper = Stepper(
            network, loss, settings, device=team.device, call=team.wrap(network), rank=team.rank
        )
        say = (report or _to_stderr) if team.first else _nowhere
        try:
            return _Loop(stepper, team, folder, validate, say).run(batches, stop)
        finally:
            stepper.release()


class _Loop:
    """The state of one call of :func:`train`."""

    def __init__(
        self, stepper: Stepper, team: Team, folder: Path, validate: Validate | None, say: Report
    ) -> None:
        self.stepper, self.team, self.folder = stepper, team, folder
        self.settings, self.validate, self.say = stepper.settings, validate, say
        folder.mkdir(parents=True, exist_ok=True)
        progress = load_checkpoint(folder, stepper, self.settings)
        if progress is not None:
            say(f"Going on from step {progress.step} of {self.settings.steps}.")
        self.progress = progress or Progress()
        self.progress.settings = self.settings.to_json()
        self._warn_of_other_team()
        team.wait()  # no process may write before all have read
        self.curves = Curves(folder / "curves.csv", self.progress.step) if team.first else None
        self.begun = self.saved = time.monotonic()
        self.begun_step, self.begun_seconds = self.progress.step, self.progress.seconds

    def run(self, batches: Batches, stop: threading.Event) -> TrainingRun:
        settings = self.settings
        ahead = batches_ahead(
            batches, range(self.progress.step, settings.steps), seed=settings.seed,
            rank=self.team.rank, ahead=settings.prefetch, workers=settings.workers,
        )  # fmt: skip
        with closing(ahead):
            for batch in ahead:
                self._count(self.stepper.step(batch, self.team.any))
                if self.team.any(stop.is_set()):
                    self._save()
                    raise Cancelled(self._stopped_text())
                if time.monotonic() - self.saved >= settings.checkpoint_seconds:
                    self._save()
        return self._finish()

    def _count(self, figures: dict[str, float]) -> None:
        progress, rate = self.progress, figures.pop("learning_rate")
        progress.step = self.stepper.done
        progress.seconds = self.begun_seconds + time.monotonic() - self.begun
        progress.window_steps += 1
        for name, value in figures.items():
            progress.window[name] = progress.window.get(name, 0.0) + value
        last = progress.step == self.settings.steps
        log = last or progress.step % self.settings.log_every == 0
        check = last or progress.step % self.settings.validate_every == 0
        if log or check:
            self._log(rate, check=check)

    def _log(self, rate: float, *, check: bool) -> None:
        progress = self.progress
        means = {name: total / progress.window_steps for name, total in progress.window.items()}
        progress.window, progress.window_steps = {}, 0
        if self.curves is None:
            return
        figures = self._validated() if check else {}
        row = {"step": progress.step, "seconds": progress.seconds, "learning_rate": rate}
        self.curves.add({**row, **means, **figures})
        self.say(self._line({**means, **figures}))

    def _validated(self) -> dict[str, float]:
        if self.validate is None:
            return {}
        network = self.stepper.mean.module.eval()
        with torch.no_grad():
            return self.validate(network)

    def _line(self, figures: dict[str, float]) -> str:
        step, steps = self.progress.step, self.settings.steps
        speed = (step - self.begun_step) / max(time.monotonic() - self.begun, 1e-9)
        left = (steps - step) / max(speed, 1e-9)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        return f"step {step}/{steps}  {shown}  {speed:.2f} steps/s  {_duration(left)} left"

    def _save(self) -> None:
        if self.team.first:
            save_checkpoint(self.folder, self.stepper, self.progress)
        self.saved = time.monotonic()

    def _finish(self) -> TrainingRun:
        weights = self.folder / "final.safetensors"
        network = self.stepper.mean.module.eval().cpu()
        if self.team.first and not (weights.exists() and self.begun_step == self.settings.steps):
            self._save()
            save_weights(network, weights, steps=self.settings.steps)
        self.team.wait()
        last = self.curves.rows[-1] if self.curves and self.curves.rows else {}
        return TrainingRun(
            self.folder, network, weights, self.progress.step, self.progress.seconds, last
        )

    def _stopped_text(self) -> str:
        return (
            f"The training was stopped after step {self.progress.step} of {self.settings.steps}; "
            "the same command goes on from there."
        )

    def _warn_of_other_team(self) -> None:
        if self.progress.step and self.progress.processes != self.team.size:
            self.say(
                f"The training ran on {self.progress.processes} process(es) before and now on "
                f"{self.team.size}: it goes on with another number of examples a step."
            )
        self.progress.processes = self.team.size


def _place(network: nn.Module, device: torch.device) -> None:
    """Move a network; weights of 2-D convolutions are laid out as these are fastest."""
    network.to(device)
    for weights in network.parameters():
        if weights.dim() == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)


@contextmanager
def _stop_signals() -> Generator[threading.Event, None, None]:
    """Turn SIGINT and SIGTERM into an event; a second signal acts as it did before."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may take signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _nowhere(_line: str) -> None:
    """Take the lines of all processes but the first."""
