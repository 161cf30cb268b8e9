"""The segments of a segmentation, for a menu."""


def segmentsOf(node):
    """Return ``(id, name)`` of every segment; [] without a segmentation."""
    if node is None:
        return []
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return [(i, segmentation.GetSegment(i).GetName()) for i in ids]
