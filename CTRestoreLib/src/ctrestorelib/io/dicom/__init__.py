"""The parts of the DICOM reader; callers use ``ctrestorelib.io.dicom_series`` (layer: io)."""
