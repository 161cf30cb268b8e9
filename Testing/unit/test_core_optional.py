"""An absent package is a sentence that names it; a broken one is not mistaken for absent."""

from __future__ import annotations

import sys

import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.optional import optional_module


def test_an_installed_module_is_returned():
    assert optional_module("json.decoder", "Anything") is sys.modules["json.decoder"]


@pytest.mark.parametrize(
    ("module", "package"), [("skimage.metrics", "scikit-image"), ("h5py", "h5py")]
)
def test_an_absent_package_is_named(monkeypatch, module, package):
    for name in [n for n in sys.modules if n.split(".")[0] == module.split(".")[0]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module.split(".")[0], None)
    with pytest.raises(InputError, match=f"Reading this needs the Python package {package}") as e:
        optional_module(module, "Reading this")
    assert "Install optional packages" in e.value.hint


def test_a_package_that_lacks_something_else_keeps_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        optional_module("half_installed", "Reading this")
