"""``ctrestore send``: an exported series to an archive (layer: apps)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ctrestorelib.apps.cli.archive import archive_options, peer_of
from ctrestorelib.apps.cli.console import echo_json, progress
from ctrestorelib.apps.cli.options import json_option, path_type
from ctrestorelib.core.errors import PacsError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.pacs.commitment import commit
from ctrestorelib.pacs.instances import find_instances
from ctrestorelib.pacs.journal import Journal, journal_beside
from ctrestorelib.pacs.peers import DicomNode, Peer
from ctrestorelib.pacs.results import Outcome, SendReport
from ctrestorelib.pacs.sending import Retry, send_series, verify_sent


@click.command("send")
@click.argument("folder", metavar="OUTDIR", type=path_type)
@archive_options
@click.option(
    "--resume/--again",
    default=True,
    show_default=True,
    help="Send only what this archive has not acknowledged yet, or send everything again.",
)
@click.option(
    "--journal", type=path_type, help="Record of acknowledgements; default: OUTDIR.sent.jsonl."
)
@click.option("--verify", is_flag=True, help="Then compare with the archive's own list.")
@click.option(
    "--commit-port",
    type=click.IntRange(1, 65535),
    help="Then ask for storage commitment; the archive answers to this port of ours.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
def send(folder: Path, as_json: bool, **given: Any) -> None:
    """Send the DICOM files of OUTDIR to an archive, and say what became of each.

    Every acknowledgement is kept in a journal beside OUTDIR, so the same command sends the rest
    after a fault and nothing twice. Instances are named by number, in the order of the files.
    """
    peer = peer_of(given)
    if given["commit_port"] and not isinstance(peer, DicomNode):
        message = "Storage commitment needs --aet, --host and --port; DICOMweb has none."
        raise UsageError(message, hint="Leave --commit-port out, and use --verify.")
    instances = find_instances(folder)
    journal = Journal(given["journal"] or journal_beside(folder))
    with progress("Send", quiet=given["quiet"] or as_json) as show:
        report = send_series(
            instances, peer, journal, again=not given["resume"],
            retry=Retry(given["retries"]), job=Job(emit=show),
        )  # fmt: skip
    _confirm_and_show(report, peer, given, as_json=as_json)


def _confirm_and_show(
    report: SendReport, peer: Peer, given: dict[str, Any], *, as_json: bool
) -> None:
    trouble: PacsError | None = None
    try:
        report.require_complete()
        report = _confirmed(report, peer, given)
    except PacsError as error:
        trouble = error
    if as_json:
        found = report.to_json()
        echo_json(found if trouble is None else {**found, "error": trouble.to_json()})
        if trouble is not None:
            sys.exit(trouble.exit_code)
        return
    _show(report)
    if trouble is not None:
        raise trouble


def _confirmed(report: SendReport, peer: Peer, given: dict[str, Any]) -> SendReport:
    if given["verify"]:
        report = verify_sent(report, peer)
    if given["commit_port"] and isinstance(peer, DicomNode):
        refused = commit(peer, report.sent, given["commit_port"])
        if refused:
            words = next(iter(refused.values()))
            message = f"{peer.label} does not commit itself to {len(refused)} instances: {words}"
            raise PacsError(message, hint="Send them again with --again.")
        report = report.with_check("committed")
    return report


def _show(report: SendReport) -> None:
    for result in report.results:
        if result.outcome not in (Outcome.STORED, Outcome.EARLIER):
            click.echo(f"Instance {result.instance.number}: {result.outcome.value}. {result.words}")
    click.echo(report.sentence())
    if report.checked:
        click.echo(f"Confirmed by the archive: {', '.join(report.checked)}.")
