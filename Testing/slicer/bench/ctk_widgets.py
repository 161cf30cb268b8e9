"""Stand-ins for ctk's path fields, text browser and message box."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Property, QFileInfo, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QStyle,
    QTextBrowser,
    QToolButton,
    QWidget,
)

from .declare import stored
from .report import refuse


class ctkPathLineEdit(QWidget):
    """A path with a browse button."""

    _bench_stand_in = True
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Dirs, Files, Drives, NoSymLinks, Readable, Writable, Executable = (
        1,
        2,
        4,
        8,
        0x10,
        0x20,
        0x40,
    )
    Modified, Hidden, System, AllDirs, NoDotAndDotDot, NoDot, NoDotDot = (
        0x80,
        0x100,
        0x200,
        0x400,
        0x1000,
        0x2000,
        0x4000,
    )

    label, setLabel = stored(str, "label", "")
    filters, setFilters = stored(int, "filters", 0x6007)
    nameFilters, setNameFilters = stored("QStringList", "nameFilters", [])
    settingKey, setSettingKey = stored(str, "settingKey", "")
    options, setOptions = stored(int, "options", 0)
    showBrowseButton, setShowBrowseButton = stored(bool, "showBrowseButton", True, "_show_browse")
    showHistoryButton, setShowHistoryButton = stored(bool, "showHistoryButton", True, "_show_past")
    sizeAdjustPolicy, setSizeAdjustPolicy = stored(int, "sizeAdjustPolicy", 1)
    minimumContentsLength, setMinimumContentsLength = stored(int, "minimumContentsLength", 0)

    def __init__(self, *given):
        super().__init__(next((g for g in given if isinstance(g, QWidget)), None))
        self._combo = QComboBox(self)
        self._combo.setEditable(True)
        self._combo.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._browse = QToolButton(self)
        self._browse.setText("...")
        self._browse.clicked.connect(self.browse)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        row.addWidget(self._browse)
        self._valid = False
        self._combo.editTextChanged.connect(self._on_text)

    def _path(self):
        return self._combo.currentText()

    def setCurrentPath(self, path):
        self._combo.setEditText(path or "")

    currentPath = Property(str, _path, setCurrentPath, user=True)

    def addCurrentPathToHistory(self):
        if self._combo.currentText() and self._combo.findText(self._combo.currentText()) < 0:
            self._combo.addItem(self._combo.currentText())

    def retrieveHistory(self):
        """Nothing is kept between runs of the bench."""

    def comboBox(self):
        return self._combo

    def browse(self):
        from .dialogs import answer

        path = answer("ctkPathLineEdit.browse", self.property("label"))
        if path:
            self.setCurrentPath(path)

    def _on_text(self, text):
        self.currentPathChanged.emit(text)
        valid = bool(text) and (Path(text).exists() or bool(self.property("filters") & 0x20))
        if valid != self._valid:
            self._valid = valid
            self.validInputChanged.emit(valid)

    def _show_browse(self, visible):
        self._browse.setVisible(visible)

    def _show_past(self, visible):
        self._combo.setStyleSheet("" if visible else "QComboBox::drop-down {width: 0px;}")


class ctkDirectoryButton(QWidget):
    _bench_stand_in = True
    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    caption, setCaption = stored(str, "caption", "")
    acceptMode, setAcceptMode = stored(int, "acceptMode", 0)
    displayAbsolutePath, setDisplayAbsolutePath = stored(bool, "displayAbsolutePath", True)
    text, setText = stored(str, "text", "", "_label")

    def __init__(self, *given):
        super().__init__(next((g for g in given if isinstance(g, QWidget)), None))
        icon = self.style().standardIcon(QStyle.StandardPixmap.SP_DirOpenIcon)
        self._button = QPushButton(icon, "", self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._button)
        self._button.clicked.connect(self.browse)
        self._folder = ""
        self.setDirectory(next((g for g in given if isinstance(g, str)), str(Path.cwd())))

    def _directory(self):
        return self._folder

    def setDirectory(self, path):
        path = QFileInfo(path).absoluteFilePath()
        if path != self._folder:
            self._folder = path
            self._label(self.property("text"))
            self.directoryChanged.emit(path)

    directory = Property(str, _directory, setDirectory)

    def browse(self):
        from .dialogs import answer

        path = answer("ctkDirectoryButton.browse", self.property("caption"))
        if path:
            self.setDirectory(path)
            self.directorySelected.emit(path)

    def _label(self, text):
        self._button.setText(text or self._folder)


class ctkComboBox(QComboBox):
    _bench_stand_in = True
    defaultText, setDefaultText = stored(str, "defaultText", "", "_show_default")
    scrollWheelEnabled, setScrollWheelEnabled = stored(bool, "scrollWheelEnabled", True)
    elideMode, setElideMode = stored(int, "elideMode", 3)

    def _show_default(self, text):
        self.setPlaceholderText(text)

    def wheelEvent(self, event):
        if self.property("scrollWheelEnabled"):
            super().wheelEvent(event)


class ctkCheckBox(QCheckBox):
    _bench_stand_in = True
    indicatorIconSize = Property(QSize, lambda self: self.iconSize())


class ctkFittedTextBrowser(QTextBrowser):
    """A text browser as high as its text."""

    _bench_stand_in = True
    collapsed, setCollapsed = stored(bool, "collapsed", False, "_fit")
    collapsibleText, setCollapsibleText = stored(str, "collapsibleText", "")
    showDetailsText, setShowDetailsText = stored(str, "showDetailsText", "Show details...")
    hideDetailsText, setHideDetailsText = stored(str, "hideDetailsText", "Hide details.")

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.textChanged.connect(self._fit)

    def resizeEvent(self, event):
        super().resizeEvent(event)
        self._fit()

    def _fit(self, *_):
        self.document().setTextWidth(self.viewport().width())
        lines = self.fontMetrics().lineSpacing() if self.property("collapsed") else 0
        self.setFixedHeight((lines or int(self.document().size().height())) + 4)


class ctkMessageBox(QMessageBox):
    _bench_stand_in = True
    dontShowAgain, setDontShowAgain = stored(bool, "dontShowAgain", False)
    dontShowAgainVisible, setDontShowAgainVisible = stored(bool, "dontShowAgainVisible", False)
    dontShowAgainSettingsKey, setDontShowAgainSettingsKey = stored(
        str, "dontShowAgainSettingsKey", "", "_offer"
    )

    def _offer(self, key):
        self.setDontShowAgainVisible(bool(key))

    def exec(self):
        from .dialogs import answer

        return answer("ctkMessageBox", self.text())

    exec_ = exec


class ctkSearchBox(QLineEdit):
    _bench_stand_in = True
    showSearchIcon, setShowSearchIcon = stored(bool, "showSearchIcon", False)


def unknown(name):
    """Refuse a ctk class that the bench does not know."""
    refuse("ctk", f"the bench has no stand-in for ctk.{name}; add one to ctk_widgets.py")
