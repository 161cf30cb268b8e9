"""What the module showed, asked and registered; tests read it."""

from __future__ import annotations


class Log:
    """What the module showed or asked; tests read it."""

    def __init__(self):
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.infos: list[str] = []
        self.status: list[str] = []
        self.confirmations: list[str] = []
        self.selected_modules: list[str] = []
        self.sample_data: list[dict] = []
        self.sample_categories: list[str] = []
        self.pip_requests: list[list[str]] = []
        self.say_yes = True
        """The answer to every confirmation."""
        self.pip_consent = True
        """Whether the user agrees to an installation that `slicer.packaging` asks for."""

    def clear(self):
        self.__init__()


log = Log()
