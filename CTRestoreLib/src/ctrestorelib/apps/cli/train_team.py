"""Starting a training once per graphics card, with torchrun (layer: apps)."""

from __future__ import annotations

import os
import subprocess

from ctrestorelib.core.child_python import child_environment, module_command
from ctrestorelib.core.errors import Cancelled, CTRestoreError, ResourceError


def in_team() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def require_gpus(count: int) -> None:
    """Raise :class:`ResourceError` if fewer than ``count`` graphics cards can be used."""
    from ctrestorelib.training.distributed import graphics_cards

    found = graphics_cards()
    if found < count:
        message = f"--gpus {count} needs {count} graphics cards; {found} can be used here."
        raise ResourceError(message, hint="Ask for fewer, or leave --gpus out.")


def start_team(processes: int, arguments: list[str]) -> None:
    """Run ``ctrestore ARGUMENTS`` in so many processes of one team, and wait for all.

    Raises
    ------
    Cancelled
        If the person stopped it; every process has then written what it needs to go on.
    CTRestoreError
        If a process failed; it has said why.
    """
    command = [*module_command("torch.distributed.run"), "--standalone",
               f"--nproc-per-node={processes}", "-m", "ctrestorelib.apps.cli",
               *arguments]  # fmt: skip
    threads = max(1, (os.cpu_count() or 1) // processes)
    team = subprocess.Popen(command, env=child_environment(threads))
    try:
        code = team.wait()
    except KeyboardInterrupt:
        # The terminal sent Ctrl-C to the team as well; it writes a checkpoint before it leaves.
        team.wait()
        message = "The training was stopped; the same command goes on from its last checkpoint."
        raise Cancelled(message) from None
    if code:
        message = f"The training on {processes} processes failed (exit code {code})."
        raise CTRestoreError(message, hint="The reason stands above; the last checkpoint is kept.")
