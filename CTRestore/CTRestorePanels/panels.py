"""Which panel goes into which section of CTRestore.ui, from top to bottom."""

from CTRestorePanels.about_panel import AboutPanel
from CTRestorePanels.compare_panel import ComparePanel
from CTRestorePanels.denoise_panel import DenoisePanel
from CTRestorePanels.dicom_panel import DicomPanel
from CTRestorePanels.export_panel import ExportPanel
from CTRestorePanels.input_panel import InputPanel
from CTRestorePanels.reconstruct_panel import ReconstructPanel
from CTRestorePanels.scan_panel import ScanPanel
from CTRestorePanels.segment_panel import SegmentPanel

PANELS = (
    ("inputSection", InputPanel),
    ("denoiseSection", DenoisePanel),
    ("scanSection", ScanPanel),
    ("reconstructSection", ReconstructPanel),
    ("compareSection", ComparePanel),
    ("segmentSection", SegmentPanel),
    ("exportSection", ExportPanel),
    ("dicomSection", DicomPanel),
    ("aboutSection", AboutPanel),
)
