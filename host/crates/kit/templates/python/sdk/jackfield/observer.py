"""An observer: it sees what happened, after it is committed, in order.

    class Count:
        def __init__(self, settings):
            pass

        def step(self, inputs, context):
            return [ack(input.value.seq) for input in inputs if isinstance(input, Input_Event)]

    Observer, Settings = observer(Count)
"""

import json
from dataclasses import dataclass
from typing import Any, Protocol, Union

from wit_world.exports import observer as contract
from wit_world.exports.observer import (
    Action as Action,
    Event as Event,
    Input as Input,
    Input_Answer as Input_Answer,
    Input_Event as Input_Event,
    Input_Lost as Input_Lost,
    Input_Wake as Input_Wake,
)
from wit_world.imports import types

from jackfield.glue import answering, settings_export
from jackfield.hooks import *  # noqa: F401,F403
from jackfield.hooks import Attributes, Lookup, Now, Running, store_value
from jackfield.shape import check_for


@dataclass
class Context:
    """What every step gets besides its inputs."""

    #: The instance's id in the config.
    id: str
    #: What is known of the host, e.g. `host`: its version.
    host: Attributes
    now: Now


class ObserverPlugin(Protocol):
    """What you write. It may also have `wishes(self)`, and a static `validate(settings)` that lists problems."""

    def __init__(self, settings: Any) -> None:
        """Once per instance, before any step."""

    def step(self, inputs: list[Input], context: Context) -> list[Action]:
        """One transaction: its actions count only if it returned. After a crash, events come again from the last `ack`."""
        ...


def observer(plugin: type) -> tuple[type, type]:
    """Makes the component's exports of it."""
    check_for(list[Action])
    running = Running()

    class Observer:
        def init(self, config: types.Config) -> types.Wishes:
            return answering("wishes", types.Wishes, lambda: running.start(plugin, config))

        def step(self, now: Now, inputs: list[Input]) -> list[Action]:
            return answering("step", list[Action], lambda: running.plugin.step(inputs, Context(running.id, running.host, now)))

    return Observer, settings_export(getattr(plugin, "validate", None))


def details(event: Event) -> dict[str, Any]:
    """The event as the stream has it: ids beside `type` and `at`, and what belongs to its type in `data`."""
    return json.loads(event.json)


def ack(seq: int) -> Action:
    """Everything up to this `seq` is dealt with; stores of the same step are kept in the same transaction."""
    return contract.Action_Ack(seq)


def lookup(question: Lookup) -> Action:
    """Asks the host; the answer comes as an input."""
    return contract.Action_Lookup(question)


def store(key: str, value: Union[str, bytes, None]) -> Action:
    """Keeps a value in the instance's own store; None removes the key."""
    return contract.Action_Store(store_value(key, value))


def wake_in(now: Now, ms: int) -> Action:
    """A `wake` so many milliseconds from now; replaces the one before."""
    return contract.Action_WakeAt(now.monotonic_ns + ms * 1_000_000)
