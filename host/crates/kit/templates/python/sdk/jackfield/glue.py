"""Between the host's calls and your functions: settings are read, exceptions become errors, answers are checked."""

import json
from typing import Any, Callable, Optional, TypeVar

from componentize_py_types import Err
from wit_world.exports.settings import Problem
from wit_world.imports import types

from jackfield import log
from jackfield.shape import check_for

Answer = TypeVar("Answer")


class PluginError(Exception):
    """Why a plugin cannot answer. The host notes it, and does what the admin configured for that case."""

    def __init__(self, code: str, message: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


def fail(code: str, message: str, retryable: bool = False) -> PluginError:
    """Refuses: `raise fail("no-crm", "...")`. The code is kebab-case, the message one sentence with the fix."""
    return PluginError(code, message, retryable)


def answering(name: str, annotation: Any, work: Callable[[], Answer]) -> Answer:
    """Runs `work`, checks what it answers, and raises what the contract knows."""
    try:
        answer = work()
        wrong = check_for(annotation)(answer)
        if wrong is not None:
            raise fail("bad-answer", f"the answer of {name}: {name}{wrong}")
        return answer
    except Exception as raised:
        raise Err(refusal(raised)) from None


def refusal(raised: Exception) -> types.Error:
    """The contract's word for an exception."""
    if isinstance(raised, PluginError):
        return types.Error(raised.code, _printable(raised.message), raised.retryable)
    message = f"{type(raised).__name__}: {raised}"
    log.error(f"exception: {message}{_trace(raised)}")
    return types.Error("exception", _printable(message), False)


def _trace(raised: Exception) -> str:
    # The `traceback` module would read the sources, and there are no files.
    lines, at = [], raised.__traceback__
    while at is not None and len(lines) < 20:
        code = at.tb_frame.f_code
        lines.append(f"\n  {code.co_filename}:{at.tb_lineno} in {code.co_name}")
        at = at.tb_next
    return "".join(lines)


def _printable(message: str) -> str:
    """A message must not itself be what traps."""
    return message.encode("utf-8", "replace").decode("utf-8")


def parsed(settings: str) -> Any:
    """The settings as a value; the host has checked them by the schema."""
    return json.loads(settings or "{}")


def problem(path: str, message: str, severity: str = "error") -> Problem:
    """Something wrong with the setting at `path`, e.g. `vip.0`. With an `error` the settings cannot be used; with a
    `warning` they can, but the admin should know."""
    return Problem(path, severity, message)


def settings_export(validate: Optional[Callable[[Any], list[Problem]]]) -> type:
    """The `settings` export that every plugin has."""
    check_for(list[Problem])

    class Settings:
        def validate(self, settings: str) -> list[Problem]:
            try:
                return answering("validate", list[Problem], lambda: validate(parsed(settings)) if validate else [])
            except Err as refused:
                return [problem("", refused.value.message)]

    return Settings
