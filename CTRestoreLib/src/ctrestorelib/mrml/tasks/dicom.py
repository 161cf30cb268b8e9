"""Write a result as a derived DICOM series (layer: mrml)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.io.dicom_export.options import ExportOptions, Identity
from ctrestorelib.io.dicom_export.preview import HeaderRow, preview_series
from ctrestorelib.jobs.exporting import (
    ExportOutcome,
    ExportRequest,
    RunningExport,
    plan_export_job,
)
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.records import SOURCE_ROLE, record_of, title_of
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.tasks.task import sentence_of
from ctrestorelib.mrml.volumes import (
    check_input,
    geometry_of,
    sop_instance_uids,
    volume_from_node,
)
from ctrestorelib.restorer.plan import Budget, Plan

FileOf = Callable[[str], str]
"""From a SOP Instance UID to the path of its file; "" where the host does not know it."""


class DicomTask:
    """Reads its settings when asked.

    Parameters
    ----------
    context, store
        Scene and settings.
    file_of
        The host's DICOM database.
    identity
        Returns the patient of a result without source; typed by the person, kept nowhere.
    """

    title = "DICOM export"

    def __init__(
        self,
        context: SceneContext,
        store: ParameterStore,
        file_of: FileOf,
        identity: Callable[[], Identity] = Identity,
    ) -> None:
        self.context, self.store = context, store
        self._file_of, self._identity = file_of, identity
        self.outcome: ExportOutcome | None = None

    @property
    def node(self) -> Node | None:
        """The volume to write."""
        return self.store.get("export_volume")

    def problems(self) -> list[str]:
        """Return why it cannot start."""
        if self.node is None:
            return ["Choose a volume to write."]
        if not self.store.get("dicom_folder"):
            return ["Choose a folder for the DICOM files."]
        found = sentence_of(lambda: check_input(self.node, harden=True))
        return found or sentence_of(self._check_folder) or sentence_of(self.plan)

    def plan(self) -> Plan:
        """Return what it will cost."""
        if self.node is None:
            message = "There is no volume to write."
            raise InputError(message)
        return plan_export_job(geometry_of(self.node).voxels, Budget.detect())

    def start(self) -> RunningExport:
        """Start the child process."""
        return RunningExport(self.request())

    @property
    def said(self) -> str:
        """What was written, in words; "" before that."""
        if self.outcome is None:
            return ""
        notes = "".join(f" {note}" for note in self.outcome.notes)
        return f"{self.outcome.files} images in '{self.outcome.folder.name}'.{notes}".rstrip(".")

    def adopt(self, child: RunningExport) -> list[Node]:
        """Keep what was written; no node is made."""
        self.outcome = child.result()
        return []

    def request(self) -> ExportRequest:
        """Return the request as the settings stand now.

        Raises
        ------
        CTRestoreError
            If the node, its record or the typed patient cannot be used.
        """
        node = self.node
        record = record_of(node)
        return ExportRequest(
            volume_from_node(node, harden=True).volume,
            record,
            self.folder(),
            self.sources(),
            ExportOptions(
                description=self.store.get("dicom_description"),
                body_part=self.store.get("dicom_body_part").upper(),
                keep_dose=self.store.get("dicom_keep_dose"),
                method_title="" if record is None else title_of(record),
                identity=self._identity(),
            ),
        )

    def preview(self) -> tuple[HeaderRow, ...]:
        """Return the header of the middle slice as it would be written.

        Raises
        ------
        CTRestoreError
            For the reasons for which the export would refuse.
        """
        request = self.request()
        return preview_series(
            request.volume,
            request.record,
            source=list(request.sources) or None,
            options=request.options,
        )

    def sources(self) -> tuple[Path, ...]:
        """Return the files of the series that the result was made from; () if they are not known.

        Raises
        ------
        InputError
            If the host knows some of them only.
        """
        uids = source_uids(self.node)
        files = [self._file_of(uid) for uid in uids]
        known = tuple(Path(name) for name in files if name)
        if known and len(known) != len(uids):
            message = (
                f"Only {len(known)} of the {len(uids)} source images are in the DICOM database."
            )
            raise InputError(message, hint="Import the whole source series again.")
        return known

    def folder(self) -> Path:
        """Return a new folder below the chosen one; it tells no patient."""
        parent = Path(self.store.get("dicom_folder"))
        return next(
            path for n in range(1, 10**6) if not (path := parent / f"CTRestore DICOM {n}").exists()
        )

    def _check_folder(self) -> None:
        if not Path(self.store.get("dicom_folder")).is_dir():
            message = "The folder for the DICOM files does not exist."
            raise UsageError(message, hint="Choose an existing folder.")


def source_uids(node: Node | None) -> tuple[str, ...]:
    """Return the SOP Instance UIDs of the series that a result stems from.

    They are those of the source node, else those that the record of the result names; for an
    original they are its own.
    """
    if node is None:
        return ()
    source = node.GetNodeReference(SOURCE_ROLE)
    for candidate in (source, node):
        if candidate is not None and (uids := sop_instance_uids(candidate)):
            return uids
    record = record_of(node)
    named = [i.sop_instance_uids for i in record.inputs] if record is not None else []
    return next((uids for uids in named if uids), ())
