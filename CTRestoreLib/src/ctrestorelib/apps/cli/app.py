"""``ctrestore app``: the panels in a web browser (layer: apps)."""

from __future__ import annotations

from typing import Any

import click

from ctrestorelib.apps.cli import options


@click.command("app")
@click.argument("files", nargs=-1, type=options.path_type)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535),
              help="Port to listen on; 0 takes a free one.")  # fmt: skip
@click.option("--no-browser", is_flag=True, help="Only print the link.")
@click.option("--root", "roots", multiple=True, type=options.path_type, metavar="DIR",
              help="Folder to browse and load from; may be given repeatedly.")  # fmt: skip
@click.option("--max-upload-gb", default=2.0, show_default=True,
              type=click.FloatRange(0, min_open=True),
              help="Most GB of uploads that one person may keep.")  # fmt: skip
@click.option("--idle-minutes", default=60.0, show_default=True,
              type=click.FloatRange(0, min_open=True),
              help="Wipe the data of a person who did nothing for so long.")  # fmt: skip
@click.option("--max-users", default=4, show_default=True, type=click.IntRange(1),
              help="Most people at once; each needs about 1 to 3 GB of memory.")  # fmt: skip
@click.option("--allow-host", "allow_hosts", multiple=True, metavar="NAME",
              help="Further name of this machine, such as that of a proxy in front.")  # fmt: skip
@click.option("--verbose", is_flag=True, help="Log each request: method, kind of path, status.")
@click.option("--debug", is_flag=True,
              help="Also show what the viewer prints; it may name files.")  # fmt: skip
def app(**given: Any) -> None:
    """Show the panels in a web browser; load FILES (volumes or DICOM folders) first.

    The printed link holds a key; only who has it gets in. Every browser gets a session, a folder
    and a viewer of its own; all data are wiped when the program ends. FILES are shown to everyone
    who has the link. By default only this machine can reach the page; with another --host, people
    on the network can, and what they see crosses the network unencrypted: use a tunnel or a proxy
    with TLS. CTRESTORE_TOKEN in the environment sets a key of your own.
    """
    from ctrestorelib.apps.web.gateway.launch import launch

    launch(**given)
