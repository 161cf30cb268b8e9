"""What a host needs from a task: may it start, what will it cost, start it, take its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.core.params import fields_of, params_from
from ctrestorelib.core.units import Unit
from ctrestorelib.methods.registry import default_method, method, methods_of
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.settings import InputUnit, method_prefix
from ctrestorelib.restorer.plan import Plan
from ctrestorelib.restorer.protocol import Restorer
from ctrestorelib.restorer.spec import Kind, Role


class Task(Protocol):
    """One press on Apply. Everything but :meth:`start` and :meth:`adopt` takes milliseconds."""

    title: str

    def problems(self) -> list[str]:
        """Return why it cannot start, in sentences; empty if it can.

        Absent Python packages are not among them: a host may offer to install them.
        """
        ...

    def plan(self) -> Plan:
        """Return what it will cost; raises :class:`CTRestoreError` where it cannot run."""
        ...

    def start(self) -> Any:
        """Write the inputs and start the child process; return the running child."""
        ...

    def adopt(self, child: Any) -> list[Node]:
        """Take the result of a finished child into the scene; return the new nodes.

        A task that makes no node says in a property ``said`` what it made.
        """
        ...


def chosen_method(store: ParameterStore, setting: str, kind: Kind) -> Restorer[Any]:
    """Return the method that a setting names, or the default where it names none."""
    named = methods_of(kind).get(store.get(setting))
    return named or default_method(kind)


def missing_packages(restorer: Restorer[Any]) -> str:
    """Return the sentence that names absent Python packages, or ""."""
    return restorer.spec.needs.unmet(set(Role))


def params_of(store: ParameterStore, method_id: str) -> dict[str, Any]:
    """Return the stored parameters of a method that differ from its defaults."""
    prefix = method_prefix(method_id)
    return {
        field.name: store.get(prefix + field.name)
        for field in fields_of(method(method_id).Params)
        if not store.is_default(prefix + field.name)
    }


def set_params(store: ParameterStore, method_id: str, params: dict[str, Any]) -> None:
    """Replace the stored parameters of a method: those given, defaults for the rest.

    Raises
    ------
    UsageError
        If a parameter is unknown or not allowed; nothing is stored.
    """
    params_from(method(method_id).Params, params)
    prefix = method_prefix(method_id)
    was = store.node.StartModify()
    try:
        store.reset(store.names(prefix))
        store.update({prefix + name: value for name, value in params.items()})
    finally:
        store.node.EndModify(was)


def said_unit(store: ParameterStore, node: Node | None) -> Unit | None:
    """Return the unit that the person gave for this volume; None where it tells it itself."""
    chosen = InputUnit(store.get("input_unit"))
    if chosen is InputUnit.AUTOMATIC or node is not store.get("input_volume"):
        return None
    return Unit(chosen.value)


def sentence_of(check: Callable[[], object]) -> list[str]:
    """Return the sentence of the error that ``check`` raises, as a list; [] if it passes."""
    try:
        check()
    except CTRestoreError as error:
        return [str(error)]
    return []


def short_title(restorer: Restorer[Any]) -> str:
    """Return the term in parentheses of a title, for node names: "non-local means"."""
    title = restorer.spec.title
    return title[title.index("(") + 1 : -1] if title.endswith(")") else title
