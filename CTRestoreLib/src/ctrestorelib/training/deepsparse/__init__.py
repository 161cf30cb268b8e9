"""Training of DeepSparse: hybrid views, three stages, weights (layer: training)."""

from ctrestorelib.training.deepsparse.run import train_deepsparse
from ctrestorelib.training.deepsparse.settings import (
    DeepSparseSettings,
    TrainingStage,
    settings_for,
)

__all__ = ["DeepSparseSettings", "TrainingStage", "settings_for", "train_deepsparse"]
