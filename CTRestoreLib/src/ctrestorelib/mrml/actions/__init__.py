"""What the buttons of the Compare and Segment panels do, for every host (layer: mrml)."""
