"""Restoration on MRML nodes, written once for the desktop and the browser (layer: mrml).

Imports ``slicer`` and ``vtk``; knows no window system and no ``slicer.app``: the scene and its
logics come as arguments. World coordinates of nodes are RAS, of everything below this layer LPS.
"""
