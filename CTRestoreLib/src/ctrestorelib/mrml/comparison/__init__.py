"""Original and restored volumes side by side in linked views (layer: mrml).

Layouts, the session that fills them, the wipe and the checkerboard, line profiles and statistics.
"""
