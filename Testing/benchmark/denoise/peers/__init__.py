"""Self-supervised denoisers of our own writing, after the published ideas, trained per volume."""

from denoise.peers import neighbor2neighbor, noise2sim, zs_n2n

PEERS = {
    "noise2sim": noise2sim.denoise,
    "neighbor2neighbor": neighbor2neighbor.denoise,
    "zs-n2n": zs_n2n.denoise,
}
"""Name -> function of (values in noise units ``[k, j, i]``, settings) that returns the same."""
