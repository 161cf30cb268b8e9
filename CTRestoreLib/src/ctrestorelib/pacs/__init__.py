"""Image archives: sending a series, fetching one (layer: pacs; imports core and io only).

Two ways lead to an archive: DIMSE (:class:`~ctrestorelib.pacs.peers.DicomNode`: C-STORE, C-FIND,
C-GET and storage commitment, through pynetdicom) and DICOMweb
(:class:`~ctrestorelib.pacs.peers.DicomWebServer`: STOW-RS, QIDO-RS and WADO-RS, through the
standard library). :func:`~ctrestorelib.pacs.sending.send_series` and
:func:`~ctrestorelib.pacs.fetching.fetch_series` work with both.

What is said about patients: nothing. Log lines, errors and file names carry neither names nor
identifiers nor UIDs, because an archive maps a UID back to a person. Only the report of a
transfer, which the person asked for, and the journal beside the sent folder name SOP instance
UIDs; the journal is readable by its owner alone.
"""
