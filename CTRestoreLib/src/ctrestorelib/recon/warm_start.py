"""A first estimate for slower solvers: a few sweeps of OS-SART (layer: recon)."""

from __future__ import annotations

from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.iterative import Runner, subsets_of
from ctrestorelib.recon.session import Session
from ctrestorelib.recon.sirt import Sart
from ctrestorelib.recon.solver import Discrepancy, Solution

START_TITLE = "First estimate"
START_SUBSETS = 10
START_SWEEPS = 6


def first_sweeps(session: Session, runner: Runner, start: Array | None = None) -> Solution:
    """Run the stage of the warm start; it ends early where it has reached the noise."""
    solver = Sart(subsets_of(session, START_SUBSETS))
    return runner(solver, start=start, rules=(Discrepancy(),))
