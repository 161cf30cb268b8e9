"""Slicer's views as ctrestorelib's comparison wants them."""

import slicer


class SliceViewOfSlicer:
    """One qMRMLSliceWidget."""

    def __init__(self, widget):
        self._widget = widget

    @property
    def node(self):
        """The slice node."""
        return self._widget.mrmlSliceNode()

    @property
    def composite(self):
        """The composite node."""
        return self.logic.GetSliceCompositeNode()

    @property
    def logic(self):
        """The slice logic."""
        return self._widget.sliceLogic()

    @property
    def render_window(self):
        """The render window."""
        return self._widget.sliceView().renderWindow()

    @property
    def renderer(self):
        """The renderer of the slice image."""
        return self.render_window.GetRenderers().GetFirstRenderer()

    @property
    def interactor(self):
        """The interactor that receives the mouse."""
        return self.render_window.GetInteractor()


class ViewsOfSlicer:
    """The views of Slicer's main window."""

    @property
    def layout_node(self):
        """The layout node."""
        return slicer.app.layoutManager().layoutLogic().GetLayoutNode()

    def layout(self):
        """Return the number of the layout on the screen."""
        return slicer.app.layoutManager().layout

    def set_layout(self, layout_id):
        """Show a layout."""
        slicer.app.layoutManager().setLayout(layout_id)

    def slice_view(self, tag):
        """Return the slice view with this tag, or None."""
        widget = slicer.app.layoutManager().sliceWidget(tag)
        return None if widget is None else SliceViewOfSlicer(widget)
