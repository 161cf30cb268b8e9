"""Write results as derived DICOM series and segmentations (layer: io).

::

    source headers --match slices--> plan --headers + pixels--> new folder, all or nothing

Everything in a written file is either on a list of attributes that may be copied
(:mod:`~ctrestorelib.io.dicom_export.attributes`) or set here. Sources are only read.
"""

from ctrestorelib.io.dicom_export.bundle import export_with_segments as export_with_segments
from ctrestorelib.io.dicom_export.multi_frame import export_multi_frame as export_multi_frame
from ctrestorelib.io.dicom_export.options import ExportOptions as ExportOptions
from ctrestorelib.io.dicom_export.options import Identity as Identity
from ctrestorelib.io.dicom_export.options import Stamp as Stamp
from ctrestorelib.io.dicom_export.preview import HeaderRow as HeaderRow
from ctrestorelib.io.dicom_export.preview import preview_series as preview_series
from ctrestorelib.io.dicom_export.segmentation import export_segmentation as export_segmentation
from ctrestorelib.io.dicom_export.source import SourceSeries as SourceSeries
from ctrestorelib.io.dicom_export.writing import ExportReport as ExportReport
from ctrestorelib.io.dicom_export.writing import export_series as export_series
