"""In a component there is no clock, no chance, no file and no screen. Asking for one would trap without a word, so here each
says so instead. Natively, in unit tests, nothing is changed.
"""

import sys

from jackfield.glue import fail

IN_COMPONENT = sys.platform == "wasi"


def _never(what: str, instead: str):
    def refuse(*_args, **_kwargs):
        raise fail("not-in-a-plugin", f"a plugin has no {what}; {instead}")

    return refuse


def before_the_plugin() -> None:
    """Before the plugin's own modules are imported, so that they get these names and not the real ones."""
    if not IN_COMPONENT:
        return
    import _strptime  # noqa: F401  (strptime would import it late)
    import datetime
    import os
    import random
    import time

    clock = _never("clock of its own", "take the time from `now`, or a civil time from the call's `times`")
    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime", "gmtime", "sleep"):
        setattr(time, name, clock)

    class Datetime(datetime.datetime):
        now = utcnow = today = staticmethod(clock)

    class Date(datetime.date):
        today = staticmethod(clock)

    datetime.datetime, datetime.date = Datetime, Date
    chance = _never("randomness", "the same inputs must give the same answer")
    for name in random.__all__:
        if name not in ("Random", "SystemRandom"):
            setattr(random, name, chance)
    os.urandom = chance
    sys.stdout = sys.stderr = _Lines()  # type: ignore[assignment]


def after_the_plugin() -> None:
    """Once everything is imported: from now on there are no files to import from."""
    if IN_COMPONENT:
        sys.meta_path.insert(0, _TooLate())  # type: ignore[arg-type]


class _TooLate:
    def find_spec(self, name, path=None, target=None):
        raise ImportError(f"`import {name}` comes too late: there are no files at run time; import it at the top of the module")


class _Lines:
    """What is printed goes into the log, line by line."""

    def __init__(self) -> None:
        self._line = ""

    def write(self, text: str) -> int:
        from jackfield import log

        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            log.info(line)
        return len(text)

    def flush(self) -> None:
        pass
