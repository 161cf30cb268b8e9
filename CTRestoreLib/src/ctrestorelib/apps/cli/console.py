"""What a person sees (layer: apps): results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import click

from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.core.job import Event


def echo_json(record: Any) -> None:
    """Print one JSON document to stdout."""
    click.echo(json.dumps(record, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """Print one line for a person to stderr."""
    click.echo(text, err=True)


def report_error(error: CTRestoreError, *, as_json: bool) -> int:
    """Show an error in words (or as JSON) and return the exit code."""
    if as_json:
        echo_json({"error": error.to_json()})
        return error.exit_code
    click.secho(error.message, fg="red", err=True)
    if error.hint:
        say(error.hint)
    return error.exit_code


@contextmanager
def progress(title: str, *, quiet: bool) -> Generator[Callable[[Event], None], None, None]:
    """Yield a function that shows job events: a bar with time left; plain lines without a tty."""
    if quiet:
        yield lambda _event: None
    elif sys.stderr.isatty():
        with _bar(title) as show:
            yield show
    else:
        yield _plain_lines


def _plain_lines(event: Event) -> None:
    if event["kind"] == "stage":
        say(f"{event['fraction']:4.0%}  {event['title']}")
    elif event["kind"] == "warning":
        say(f"Note: {event['text']}")


@contextmanager
def _bar(title: str) -> Generator[Callable[[Event], None], None, None]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeLeft())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def show(event: Event) -> None:
            if event["kind"] == "stage":
                bar.update(task, description=event["title"])
            elif event["kind"] == "progress":
                bar.update(task, completed=event["fraction"])
            elif event["kind"] == "warning":
                console.print(f"Note: {event['text']}", style="yellow")

        yield show


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Elapsed seconds, to a hundredth."""
        return round(time.monotonic() - self._start, 2)


def table(rows: list[tuple[str, ...]], header: tuple[str, ...]) -> str:
    """Return rows as aligned text columns under a header."""
    lines = [header, *rows]
    widths = [max(len(line[c]) for line in lines) for c in range(len(header))]
    text = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
    ]
    return "\n".join(line.rstrip() for line in text)
