"""A line or box made in a selector is drawn next: the mouse is put into place mode."""

import slicer


def placeWhenAdded(widgets):
    """Start placing whatever markup the person creates in one of these node selectors."""
    for widget in widgets:
        if widget.className() == "qMRMLNodeComboBox" and widget.addEnabled:
            widget.connect("nodeAddedByUser(vtkMRMLNode*)", startPlacing)


def startPlacing(node):
    """Let the next clicks in the views draw this markup."""
    if node is None or not node.IsA("vtkMRMLMarkupsNode"):
        return
    node.CreateDefaultDisplayNodes()
    logic = slicer.app.applicationLogic()
    selection = logic.GetSelectionNode()
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetActivePlaceNodeID(node.GetID())
    logic.GetInteractionNode().SwitchToSinglePlaceMode()
