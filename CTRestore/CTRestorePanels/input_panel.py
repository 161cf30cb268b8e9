"""Which volume, what its values mean, and what is odd about it."""

import qt
import slicer
from slicer.i18n import tr as _

from CTRestorePanels.panel import Panel


class InputPanel(Panel):
    """The volume to work on."""

    uiFile = "Input.ui"

    def setup(self):
        """Connect the phantom button."""
        self._state, self._text = None, ("", "")
        self.ui.phantomButton.connect("clicked(bool)", self.onPhantom)
        self.ui.inputWarningLabel.hide()
        self.ui.inputFactsLabel.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)

    def refresh(self):
        """Show facts and warnings of the chosen volume."""
        super().refresh()
        node = self.desk.store.get("input_volume")
        self.ui.hardenCheck.setVisible(
            node is not None and node.GetParentTransformNode() is not None
        )
        facts, warning = self._described(node)
        self.ui.inputFactsLabel.setText(facts)
        self.ui.inputFactsLabel.setVisible(bool(facts))
        self.ui.inputWarningLabel.setText(warning)
        self.ui.inputWarningLabel.setVisible(bool(warning))

    def _described(self, node):
        """Describe a node, looking through its voxels only after it changed."""
        if node is None:
            return "", ""
        image, transform = node.GetImageData(), node.GetParentTransformNode()
        state = (node.GetID(), node.GetMTime(), image and image.GetMTime(),
                 transform and transform.GetMTime())  # fmt: skip
        if state != self._state:
            self._state, self._text = state, describe(node)
        return self._text

    def onPhantom(self, *_args):
        """Make the synthetic knee, show and choose its noisy version."""
        clean, noisy = self.desk.logic.makePhantom()
        self.desk.change({"input_volume": noisy, "scan_volume": clean})
        slicer.util.setSliceViewerLayers(background=noisy, fit=True)


def describe(node):
    """Return the facts about a volume node, and what a person should know before using it."""
    from ctrestorelib.core.errors import CTRestoreError
    from ctrestorelib.mrml.actions.describing import facts_of

    try:
        facts = facts_of(node)
    except CTRestoreError as error:
        return "", str(error)
    (i, j, k), (x, y, z) = facts.size_ijk, facts.spacing_mm
    text = _("{i} x {j} x {k} voxels of {x:.3g} x {y:.3g} x {z:.3g} mm, {unit}.").format(
        i=i, j=j, k=k, x=x, y=y, z=z, unit=facts.unit
    )
    stack = _("These are X-ray projections with their geometry: use them under Reconstruct.")
    return text, " ".join([*facts.doubts, *([stack] if facts.projections else [])])
