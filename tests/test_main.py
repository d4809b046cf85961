"""``python -m limbeck``."""

import sys
from types import ModuleType

from limbeck.__main__ import main


class Interrupted(ModuleType):
    """A module whose import is interrupted."""

    def __getattr__(self, name):
        raise KeyboardInterrupt


def test_an_interrupt_during_the_imports_is_no_traceback(monkeypatch, capsys):
    for name in (
        "limbeck.__main__.prepare_standard_streams",
        "limbeck._base.signals.install_handlers",
    ):
        monkeypatch.setattr(name, lambda: None)
    monkeypatch.setitem(sys.modules, "limbeck.cli.main", Interrupted("limbeck.cli.main"))
    assert main() == 130
    assert capsys.readouterr().err == "error: interrupted.\n"
