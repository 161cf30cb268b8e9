"""DiCE, the network of DeepSparse: few views in, attenuation at any point out (layer: networks).

Written from the publication and from the list of layers; see :mod:`.network` for what is different
here and why.
"""

from ctrestorelib.networks.dice.frame import CubeFrame
from ctrestorelib.networks.dice.network import DiceNetwork, DiceOutput, parameter_counts
from ctrestorelib.networks.dice.settings import COMPACT, FULL, SIZES, DiceSettings

__all__ = ["COMPACT", "FULL", "SIZES", "CubeFrame", "DiceNetwork", "DiceOutput", "DiceSettings",
           "parameter_counts"]  # fmt: skip
