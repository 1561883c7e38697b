"""The check of an answer against the contract's types, before the component would trap on it without a word."""

import dataclasses
import typing
from typing import Any, Callable, Optional

from jackfield.bounds import BOUNDS

#: What is wrong with a value, as a path and a sentence; None when nothing.
Check = Callable[[Any], Optional[str]]

_made: dict[Any, Check] = {}


def check_for(annotation: Any) -> Check:
    """Makes the check of a type; done once, when the component is built."""
    if annotation not in _made:
        _made[annotation] = _make(annotation)
    return _made[annotation]


def _make(annotation: Any) -> Check:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union:
        return _union(arguments)
    if origin is list:
        return _list(check_for(arguments[0]))
    if origin is tuple:
        return _tuple([check_for(argument) for argument in arguments])
    if dataclasses.is_dataclass(annotation):
        return _record(annotation)
    if annotation is str:
        return _text
    return _exactly(annotation)


def _union(choices: tuple) -> Check:
    classes = {choice: check_for(choice) for choice in choices if dataclasses.is_dataclass(choice)}
    plain = [choice for choice in choices if choice is not type(None) and choice not in classes]
    may_miss = type(None) in choices
    others = [check_for(choice) for choice in plain]
    names = ", ".join(choice.__name__ for choice in classes)

    def check(value: Any) -> Optional[str]:
        if value is None and may_miss:
            return None
        known = classes.get(type(value))
        if known is not None:
            return known(value)
        if others:
            return others[0](value)
        return f" is {_show(value)}, must be one of {names}"

    return check


def _list(inner: Check) -> Check:
    def check(value: Any) -> Optional[str]:
        if not isinstance(value, list):
            return f" is {_show(value)}, must be a list"
        for index, item in enumerate(value):
            wrong = inner(item)
            if wrong is not None:
                return f"[{index}]{wrong}"
        return None

    return check


def _tuple(parts: list[Check]) -> Check:
    def check(value: Any) -> Optional[str]:
        if not isinstance(value, tuple) or len(value) != len(parts):
            return f" is {_show(value)}, must be a tuple of {len(parts)}"
        for index, (part, item) in enumerate(zip(parts, value)):
            wrong = part(item)
            if wrong is not None:
                return f"[{index}]{wrong}"
        return None

    return check


def _record(annotation: Any) -> Check:
    # A variant's case is a record too: its one field is called `value`.
    hints = typing.get_type_hints(annotation)
    fields = []
    for field in dataclasses.fields(annotation):
        bounds = BOUNDS.get(f"{annotation.__name__}.{field.name}")
        inner = check_for(hints[field.name]) if bounds is None else _int(*bounds, hints[field.name] is not int)
        fields.append((field.name, inner))

    def check(value: Any) -> Optional[str]:
        if type(value) is not annotation:
            return f" is {_show(value)}, must be a {annotation.__name__}"
        for name, inner in fields:
            wrong = inner(getattr(value, name))
            if wrong is not None:
                return f".{name}{wrong}"
        return None

    return check


def _int(least: int, most: int, may_miss: bool) -> Check:
    def check(value: Any) -> Optional[str]:
        if type(value) is int and least <= value <= most or value is None and may_miss:
            return None
        return f" is {_show(value)}, must be a whole number from {least} to {most}"

    return check


def _text(value: Any) -> Optional[str]:
    if type(value) is not str:
        return f" is {_show(value)}, must be a str"
    try:
        value.encode()
    except UnicodeEncodeError:
        return " holds half of a surrogate pair, which is no text"
    return None


def _exactly(kind: type) -> Check:
    def check(value: Any) -> Optional[str]:
        return None if type(value) is kind else f" is {_show(value)}, must be {kind.__name__}"

    return check


def _show(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        return ascii(value if len(value) <= 40 else value[:40] + "...")
    return f"a {type(value).__name__}"
