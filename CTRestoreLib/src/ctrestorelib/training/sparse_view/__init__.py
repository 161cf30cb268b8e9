"""Training of the default reconstructor from few views, stage by stage (layer: training)."""
