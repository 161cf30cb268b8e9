# Slicer's own packaging steps are not run here.
