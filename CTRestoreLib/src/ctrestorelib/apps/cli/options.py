"""Command-line options: the shared ones, and those generated from a method's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ctrestorelib.core.errors import CTRestoreError, UsageError
from ctrestorelib.core.params import ParamField, fields_of
from ctrestorelib.jobs.presets import Preset, find_preset
from ctrestorelib.methods.registry import all_methods, default_method, method
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.spec import Kind

F = TypeVar("F", bound=Callable[..., Any])
PREFIX = "param_"


class MethodCommand(click.Command):
    """A command whose options grow by the parameters of the method named in its arguments.

    ``ctrestore denoise --method nlm --help`` shows the options of ``nlm``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Add the method's options before parsing."""
        fixed = [p for p in self.params if not (p.name or "").startswith(PREFIX)]
        default = next((p.get_default(ctx) for p in fixed if p.name == "method"), None)
        named = _named(args, positional=self.name == "plan")
        preset = _task_preset(args, named or default)
        if preset is not None:
            # Settings to fall back on; what the person says counts more.
            ctx.default_map = {"method": preset.method, "strength": preset.strength}
            default = preset.method
        method_id = named or default
        if isinstance(method_id, str):
            try:
                fields = fields_of(method(method_id).Params)
            except CTRestoreError as error:
                raise click.UsageError(str(error), ctx) from error
            self.params = [*fixed, *(option_of(f) for f in fields)]
        return super().parse_args(ctx, args)


def _named(args: Sequence[str], *, positional: bool) -> str | None:
    found = _value_of(("--method", "-m"), args)
    if found is not None:
        return found
    return args[0] if positional and args and not args[0].startswith("-") else None


def _value_of(names: Sequence[str], args: Sequence[str]) -> str | None:
    for index, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if equals and name in names:
            return value
        if arg in names and index + 1 < len(args):
            return args[index + 1]
    return None


def _task_preset(args: Sequence[str], method_id: Any) -> Preset | None:
    """Return the task preset that ``--preset`` names, unless it is one of the method's own."""
    name = _value_of(("--preset",), args)
    methods = all_methods()
    if name is None or (method_id in methods and name in methods[method_id].spec.presets):
        return None
    return find_preset(name)


def option_of(field: ParamField) -> click.Option:
    """Return the command-line option of one declared parameter."""
    kinds: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool}
    names = [f"{field.option}/--no-{field.option[2:]}"] if field.kind == "bool" else [field.option]
    names += short_names(field)
    return click.Option(
        [*names, PREFIX + field.name],
        type=click.Choice(field.choices) if field.choices else kinds[field.kind],
        default=None,
        help=f"{field.info.doc} Default: {field.default_text}.",
    )


def short_names(field: ParamField) -> list[str]:
    """Return the spelling without the unit: ``--sod`` beside ``--sod-mm``."""
    suffix = "-" + field.info.unit
    stem = field.option.removesuffix(suffix)
    return [stem] if field.info.unit and stem != field.option else []


def given_params(values: dict[str, Any]) -> dict[str, Any]:
    """Pop the method's parameters out of a command's keyword arguments."""
    names = [n for n in values if n.startswith(PREFIX)]
    return {n[len(PREFIX) :]: v for n in names if (v := values.pop(n)) is not None}


def reading(values: dict[str, Any]) -> dict[str, Any]:
    """Return what :data:`read_options` said, as arguments for opening a volume."""
    return {n: values[n] for n in ("series", "resample_tilt", "voxel_size", "input_unit")}


def preset_params(method_id: str, preset: str | None) -> dict[str, Any]:
    """Return the parameters of a preset: of the method's own, of a task's, or of a file.

    Raises
    ------
    UsageError
        If there is none of that name, or it is made for another method.
    """
    if preset is None:
        return {}
    presets = method(method_id).spec.presets
    if preset in presets:
        return dict(presets[preset])
    found = find_preset(preset)
    if found is None:
        message = f"There is no preset {preset!r}."
        own = ", ".join(presets) or "none"
        hint = f"Method {method_id!r} has: {own}. 'ctrestore presets' lists those for tasks."
        raise UsageError(message, hint=hint)
    if found.method != method_id:
        message = f"The preset {found.name!r} is made for {found.method!r}, not for {method_id!r}."
        raise UsageError(message, hint="Leave --method out.")
    return dict(found.params)


def require_kind(method_id: str, kind: Kind, instead: str) -> None:
    """Raise :class:`UsageError` if a method is of the other kind; ``instead`` names the command."""
    spec = method(method_id).spec
    if spec.kind is not kind:
        message = f"{spec.title} is a {spec.kind.value}."
        raise UsageError(message, hint=f"Use 'ctrestore {instead}'.")


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers by comma, none below ``least``; their value is a tuple."""

    name = "integers"

    def __init__(self, least: int) -> None:
        self.least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """See :meth:`click.ParamType.convert`."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 64,96.", param, ctx)
        if min(found) < self.least:
            self.fail(f"{min(found)} is too small: at least {self.least}.", param, ctx)
        return found


def numbers(text: str, count: int, what: str, kind: type = float) -> tuple[Any, ...]:
    """Parse ``"a,b,c"`` (or one number for all) into ``count`` numbers."""
    try:
        values = [
            kind(part) for part in text.replace("x", ",").replace(" ", ",").split(",") if part
        ]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= count
    if len(values) != count or min(values) <= 0:
        message = (
            f"{what} takes {count} positive numbers such as {','.join('1' * count)}; got {text!r}."
        )
        raise UsageError(message)
    return tuple(values)


def budget_from(threads: int | None, memory_gb: float | None) -> Budget:
    """Return the measured budget, narrowed by what the person allows."""
    found = Budget.detect()
    return Budget(
        host_bytes=found.host_bytes if memory_gb is None else int(memory_gb * 2**30),
        threads=found.threads if threads is None else max(1, threads),
    )


def check_output(output: Path, inputs: Iterable[Path | None], *, overwrite: bool) -> None:
    """Refuse to touch an input, or an existing file without ``--overwrite``.

    Raises
    ------
    UsageError
        In both cases, before anything runs.
    """
    target = output.resolve()
    for path in inputs:
        if path is not None and path.resolve() == target:
            message = (
                f"The output {output.name} is the input itself; originals are never overwritten."
            )
            raise UsageError(message, hint="Give another file name.")
    if output.exists() and not overwrite:
        message = f"{output.name} exists already."
        raise UsageError(message, hint="Give another name, or add --overwrite.")


def _stacked(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def apply(function: F) -> F:
        for decorate in reversed(decorators):
            function = decorate(function)
        return function

    return apply


def method_option(kind: Kind, shown: str) -> Callable[[F], F]:
    """Return the option that names a method; the default is the best that can run here."""
    return click.option(
        "-m", "--method", default=lambda: default_method(kind).spec.id, show_default=shown,
        help=f"{kind.value.capitalize()} id.",
    )  # fmt: skip


preset_option = click.option(
    "--preset",
    help="Settings by name: of the method ('ctrestore info METHOD'), of a task ('ctrestore "
    "presets'), or from a .json file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
path_type = click.Path(path_type=Path)

read_options = _stacked(
    click.option("--series", help="Which DICOM series of a folder: its number or UID."),
    click.option("--resample-tilt", is_flag=True, help="Straighten a gantry-tilted DICOM stack."),
    click.option("--voxel-size", help="Voxel size i,j,k in mm, where the file has none."),
    click.option(
        "--input-unit", type=click.Choice(["hu", "per_mm", "grey"]), help="What the values mean."
    ),
)
run_options = _stacked(
    click.option("--seed", default=0, show_default=True, help="Root of all random numbers."),
    click.option("--threads", type=int, help="Processor cores to use; default: all."),
    click.option("--memory-gb", type=float, help="Memory the run may use; default: what is free."),
    click.option("--overwrite", is_flag=True, help="Replace an existing output file."),
    click.option("--quiet", is_flag=True, help="No progress."),
    json_option,
)
