"""What noise a scan has: a table, a chart, and its map as a volume on request (layer: mrml)."""

from __future__ import annotations

import slicer

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.volume import Volume
from ctrestorelib.jobs.describing_noise import RunningNoise, plan_description
from ctrestorelib.mrml.actions.comparing import chosen_volumes
from ctrestorelib.mrml.comparison.charts import Chart, Curve, show_chart
from ctrestorelib.mrml.comparison.tables import show_table
from ctrestorelib.mrml.derived import DERIVED_ATTRIBUTE
from ctrestorelib.mrml.hierarchy import place_beside
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.records import SOURCE_ROLE
from ctrestorelib.mrml.rollback import all_or_nothing
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.tasks.task import sentence_of
from ctrestorelib.mrml.transforms import same_parent
from ctrestorelib.mrml.volumes import check_input, geometry_of, new_volume_node, volume_from_node
from ctrestorelib.quality.noise_table import noise_rows
from ctrestorelib.quality.scan_noise import ScanNoise
from ctrestorelib.restorer.plan import Budget, Plan


class NoiseTask:
    """Reads the first compared volume from the settings when asked.

    Parameters
    ----------
    context, store
        Scene and settings.
    with_map
        Whether to add the noise map as a volume.
    """

    title = "Noise of the scan"

    def __init__(
        self, context: SceneContext, store: ParameterStore, *, with_map: bool = False
    ) -> None:
        self.context, self.store, self.with_map = context, store, with_map
        self.verdict = ""
        self.chart_id = ""

    def problems(self) -> list[str]:
        """Return why it cannot start."""
        return sentence_of(lambda: check_input(self._scan())) or sentence_of(self.plan)

    def plan(self) -> Plan:
        """Return what it will cost."""
        return plan_description(geometry_of(self._scan()).voxels, Budget.detect())

    def start(self) -> RunningNoise:
        """Start the child process."""
        self._source = self._scan()
        return RunningNoise(volume_from_node(self._source).volume, with_map=self.with_map)

    def adopt(self, child: RunningNoise) -> list[Node]:
        """Show the figures and, if it was asked for, the map; keep the advice in words."""
        found = child.result()
        made = []
        with all_or_nothing(self.context.scene):
            if found.level is not None:
                made.append(self._map_node(found.level))
            chart = _chart(self.context, found.noise)
            self.chart_id = "" if chart is None else chart.GetID()
            made.append(show_noise(self.context, found.noise))
        self.verdict = " ".join(found.noise.advice())
        return made

    def _scan(self) -> Node:
        volumes = chosen_volumes(self.store)
        if not volumes:
            message = "No volume is chosen."
            raise InputError(message, hint="Choose the scan as the first volume under Compare.")
        return volumes[0]

    def _map_node(self, level: Volume) -> Node:
        node = new_volume_node(self.context, f"{self._source.GetName()} noise map", level)
        with slicer.util.NodeModify(node):
            node.SetAttribute(DERIVED_ATTRIBUTE, "noise-map")
            node.SetNodeReferenceID(SOURCE_ROLE, self._source.GetID())
            same_parent(self._source, node)
        place_beside(node, self._source)
        return node


def show_noise(context: SceneContext, noise: ScanNoise) -> Node:
    """Show the figures as a table; return its node."""
    what, value, told = zip(*noise_rows(noise), strict=True)
    columns = {"noise": what, "value": value, "how": told}
    return show_table(context, "scan-noise", "Noise of the scan", columns)


def _chart(context: SceneContext, noise: ScanNoise) -> Node | None:
    if noise.spectrum is None:
        return None
    across, up = "frequency [1/mm]", "power [mm^2]"
    columns = {across: list(noise.spectrum.frequency_per_mm), up: list(noise.spectrum.power)}
    table = show_table(context, "scan-noise-curve", "Spectrum of the noise", columns)
    chart = Chart("scan-noise", "Noise power spectrum (noise of level 1)",
                  "Spatial frequency [1/mm]", "Power [mm^2]",
                  [Curve("noise of the scan", across, up, 0)])  # fmt: skip
    return show_chart(context, table, chart)
