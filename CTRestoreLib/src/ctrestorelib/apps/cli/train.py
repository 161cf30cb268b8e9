"""``ctrestore train``: networks from your own volumes; a stopped training goes on (layer: apps)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ctrestorelib.apps.cli import options, train_cts, train_deepsparse
from ctrestorelib.apps.cli.console import say, table
from ctrestorelib.apps.cli.train_team import in_team, require_gpus, start_team
from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.optional import optional_module

if TYPE_CHECKING:
    from ctrestorelib.training.denoiser import DenoiserSettings

F = TypeVar("F", bound=Callable[..., Any])

_WIDTHS = {"standard": 32, "fast": 16}


@click.group("train", invoke_without_command=True)
@click.pass_context
def train(context: click.Context) -> None:
    """Train a network on your own volumes; no clean scans are needed.

    The same command with the same folder goes on where a training was stopped (Ctrl-C, a shutdown,
    a crash). Without a sub-command: what can be trained.
    """
    if context.invoked_subcommand is not None:
        return
    names = train.list_commands(context)
    commands = [(name, train.get_command(context, name)) for name in names]
    rows: list[tuple[str, ...]] = [
        (name, found.get_short_help_str(90)) for name, found in commands if found
    ]
    click.echo(table(rows, ("NETWORK", "WHAT IT DOES")))
    click.echo("'ctrestore train NETWORK --help' shows the options.")


def _shared(command: F) -> F:
    """Add the options that all trainings have."""
    for option in reversed((
        click.option("--data", type=options.path_type, required=True,
                     help="Folder of volumes: NIfTI, NRRD, MetaImage, TIFF stacks."),
        click.option("--split", type=options.path_type,
                     help='JSON file whose list "train" names the files to train on.'),
        click.option("--out", type=options.path_type, required=True,
                     help="Folder for checkpoints, curves.csv and weights; go on if it has some."),
        click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps."),
        click.option("--threads", type=click.IntRange(min=0), default=0,
                     help="Threads of the processor; 0: torch decides."),
        click.option("--gpus", type=click.IntRange(min=1), default=1, show_default=True,
                     help="Processes, each with a graphics card of its own (torchrun)."),
        click.option("--seed", type=int, default=0, show_default=True,
                     help="Root of every random number."),
    )):  # fmt: skip
        command = option(command)
    return command


@train.command("denoiser")
@_shared
@click.option(
    "--network",
    type=click.Choice(list(_WIDTHS)),
    default="standard",
    show_default=True,
    help="Size: fast takes a third of the time of standard.",
)
@click.option("--start", type=options.path_type, help="Weights (.safetensors) to start from.")
@click.option(
    "--teacher",
    type=options.path_type,
    help="Weights of a larger denoiser that this one learns from.",
)
@click.option("--batch", type=click.IntRange(min=1), help="Crops in a step.")
@click.option("--patch", type=click.IntRange(min=32), help="Side of a crop; a multiple of 16.")
@click.option(
    "--anatomies",
    type=click.IntRange(min=0),
    help="Procedural bodies to learn from beside your volumes.",
)
def denoiser(**given: Any) -> None:
    """Learn the default denoiser (ctd) from physical noise on volumes and procedural anatomy."""
    _check(given)
    from ctrestorelib.training.denoiser import train_denoiser

    settings = _denoiser_settings(given)
    if _leads(given):
        _make_material(given, settings)
        start_team(given["gpus"], sys.argv[1:])
        return
    run = train_denoiser(
        given["data"], given["out"], settings, split=given["split"], start=given["start"],
        teacher=given["teacher"], report=say,
    )  # fmt: skip
    _tell(run.weights)


@train.command("horuseye")
@_shared
@click.option(
    "--pair",
    type=click.Choice(["compact", "full", "2024"]),
    default="compact",
    show_default=True,
    help="Networks; full and 2024 are the published ones.",
)
@click.option(
    "--mode",
    type=click.Choice(["noise-units", "windows"]),
    default="noise-units",
    show_default=True,
    help="What they see; the published networks need windows.",
)
@click.option("--rounds", type=click.IntRange(min=1), help="Co-refinement rounds.")
@click.option("--batch", type=click.IntRange(min=1), help="Crops in a step.")
@click.option("--crop", type=click.IntRange(min=32), help="Side of a crop, in pixels.")
def horuseye(**given: Any) -> None:
    """Learn both networks of HorusEye from neighbouring slices, round by round."""
    _check(given)
    from ctrestorelib.training.horuseye.rounds import train_horuseye
    from ctrestorelib.training.horuseye.settings import HorusEyeSettings, InputMode

    steps = {} if given["steps"] is None else dict.fromkeys(
        ("extractor_steps", "denoiser_steps"), given["steps"]
    )  # fmt: skip
    settings = HorusEyeSettings(
        pair=given["pair"], mode=InputMode(given["mode"]), threads=given["threads"],
        seed=given["seed"], **steps, **_present(given, "rounds", "batch", "crop"),
    )  # fmt: skip
    if _leads(given):
        start_team(given["gpus"], sys.argv[1:])
        return
    run = train_horuseye(_files(given), given["out"], settings=settings, report=say)
    for path in (run.extractor, run.denoiser):
        _tell(path)


@train.command("cts")
@_shared
@click.option(
    "--stage",
    type=click.Choice(train_cts.STAGES),
    default="prior",
    show_default=True,
    help="Which network; each needs those before it in the same folder.",
)
@click.option("--scans", type=click.IntRange(min=2), default=300, show_default=True,
              help="Virtual scans to learn from, procedural subjects among them.")  # fmt: skip
@click.option("--cells", type=options.Numbers(32), default="128", show_default=True,
              help="Voxels of a scan along each edge; several by comma take turns.")  # fmt: skip
@click.option("--pixels", type=click.IntRange(min=16),
              help="Detector pixels along each edge.  [default: twice the cells]")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), default=2, show_default=True,
              help="Patches in a step.")  # fmt: skip
@click.option("--patch", type=click.IntRange(min=16), default=64, show_default=True,
              help="Edge of a patch; a multiple of 8.")  # fmt: skip
@click.option(
    "--network",
    type=click.Choice(train_cts.SIZES),
    default="small",
    show_default=True,
    help="small trains on a processor, full on a graphics card.",
)
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True,
              help="Processes that make the material.")  # fmt: skip
@click.option("--start", type=options.path_type, help="Weights (.safetensors) to start from.")
def cts(**given: Any) -> None:
    """Learn the default reconstructor from few views (cts), one stage at a time."""
    _check(given)
    if _leads(given):
        train_cts.prepare(given, say)
        start_team(given["gpus"], sys.argv[1:])
        return
    _tell(train_cts.run(given, say))


@train.command("deepsparse")
@_shared
@click.option(
    "--stage",
    type=click.Choice(train_deepsparse.STAGES),
    required=True,
    help="pretrain: any number of views; adapt: one; views: the volume of these too.",
)
@click.option(
    "--network",
    type=click.Choice(train_deepsparse.SIZES),
    default="compact",
    show_default=True,
    help="compact trains on a processor, full is the published one.",
)
@click.option("--start", type=options.path_type, help="deepsparse.safetensors of an earlier stage.")
@click.option("--views", type=click.IntRange(min=1), help="Views to adapt to.")
@click.option(
    "--procedural",
    type=click.IntRange(min=0),
    help="Procedural subjects to learn from beside your volumes.",
)
@click.option("--poses", type=click.IntRange(min=1), help="Subjects made of each volume.")
@click.option(
    "--items",
    type=options.path_type,
    help="Folder of the training material, which the stages can share.",
)
@click.option("--cells", type=click.IntRange(min=16), help="Voxels of a subject along each edge.")
@click.option("--candidates", type=click.IntRange(min=2), help="Stored views of each subject.")
@click.option("--batch", type=click.IntRange(min=1), help="Scans in a step.")
@click.option("--points", type=click.IntRange(min=1), help="Points of a scan in a step.")
@click.option(
    "--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Highest learning rate."
)
@click.option(
    "--precision",
    type=click.Choice(["bfloat16", "float32"]),
    help="Of the calculations; weights stay float32.",
)
def deepsparse(**given: Any) -> None:
    """Learn DeepSparse, the published reconstructor from few views, in three stages."""
    _check(given)
    if _leads(given):
        train_deepsparse.prepare(given, _files(given), say)
        start_team(given["gpus"], sys.argv[1:])
        return
    _tell(train_deepsparse.run(given, _files(given), say))


def _check(given: dict[str, Any]) -> None:
    """Refuse what cannot work before any work is done."""
    data, out = given["data"], given["out"]
    if not data.is_dir():
        message = f"--data must be a folder of volumes; {data} is not a folder."
        raise InputError(message, hint="Give the folder, not a file in it.")
    if out.exists() and not out.is_dir():
        message = f"--out must be a folder; {out} is a file."
        raise UsageError(message, hint="Give a folder; it is made if it does not exist.")
    optional_module("torch", "Training")
    optional_module("safetensors", "Training")
    if _leads(given):
        require_gpus(given["gpus"])
    if not _files(given):
        message = f"There is nothing to train on: the split names no volume for {data.name!r}."
        raise InputError(message, hint='Its list "train" must name files of that folder.')


def _files(given: dict[str, Any]) -> list[Path]:
    from ctrestorelib.training.clean_volumes import training_files

    split = given["split"]
    try:
        return training_files(given["data"], split)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{split} is not a split file ({type(error).__name__}: {error})."
        hint = 'Expected JSON with a list "train" of file names.'
        raise InputError(message, hint=hint) from error


def _denoiser_settings(given: dict[str, Any]) -> DenoiserSettings:
    from dataclasses import replace

    from ctrestorelib.training.denoiser import DenoiserSettings

    base = DenoiserSettings(width=_WIDTHS[given["network"]], **_present(given, "anatomies"))
    base = replace(base, processes=given["threads"] or base.processes)
    sizes = _present(given, "batch", "patch")
    if "patch" in sizes and sizes["patch"] % 16:
        message = f"--patch must be a multiple of 16; got {sizes['patch']}."
        raise UsageError(message, hint=f"Take {sizes['patch'] // 16 * 16}.")
    if "batch" in sizes:
        sizes["size"] = sizes.pop("batch")
    loop = replace(
        base.loop, threads=given["threads"], seed=given["seed"], **_present(given, "steps")
    )
    return replace(base, batches=replace(base.batches, **sizes), loop=loop)


def _make_material(given: dict[str, Any], settings: DenoiserSettings) -> None:
    """Make what all processes of a team then find."""
    from ctrestorelib.training.denoiser_items import item_tasks, make_items

    tasks = item_tasks(_files(given), settings.anatomies, settings.item_seed)
    make_items(tasks, given["out"] / "items", settings.processes, say)


def _leads(given: dict[str, Any]) -> bool:
    """Whether this process is to start a team and wait for it."""
    return given["gpus"] > 1 and not in_team()


def _present(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if given[name] is not None}


def _tell(weights: Path) -> None:
    if weights.exists():
        say(f"Weights: {weights}")
