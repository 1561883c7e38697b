"""Words for the operator. The host cuts a line at 4 KiB, and drops lines beyond the instance's rate."""

from wit_world.imports import log as host

MOST = 4000


def _write(level: int, message: object) -> None:
    # A lone surrogate is no text to the host: it would trap.
    text = str(message)[:MOST].encode("utf-8", "replace").decode("utf-8")
    host.log(level, text)


def error(message: object) -> None:
    _write(0, message)


def warning(message: object) -> None:
    _write(1, message)


def info(message: object) -> None:
    _write(2, message)


def debug(message: object) -> None:
    _write(3, message)
