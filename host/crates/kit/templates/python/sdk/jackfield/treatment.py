"""A wait treatment: it says what a waiting caller hears, and what their keys do.

    class Comfort:
        def __init__(self, settings):
            self.queue = settings["queue"]

        def next(self, waiting, cause, context):
            if isinstance(cause, Key):
                return plan(context.state, [hand_over(queue(self.queue))], reason="pressed a key")
            return plan({"round": 1}, [answer(), music(), wait(20_000), play("queue-thankyou")], keys="1")

    WaitTreatment, Settings = treatment(Comfort)
"""

import json
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Protocol

from wit_world.exports import wait_treatment as contract
from wit_world.exports.wait_treatment import (
    Cause as Cause,
    Cause_CameBack as CameBack,
    Cause_Changed as Changed,
    Cause_Collected as Collected,
    Cause_Failed as Failed,
    Cause_Finished as Finished,
    Cause_Key as Key,
    Cause_LookedUp as LookedUp,
    Cause_Resumed as Resumed,
    Cause_Started as Started,
    Cause_Woke as Woke,
    Plan as Plan,
    Step as Step,
    Waiting as Waiting,
)
from wit_world.imports import types

from jackfield import hooks
from jackfield.glue import answering, settings_export
from jackfield.hooks import *  # noqa: F401,F403
from jackfield.hooks import Answers, Lookup, Running, Stores, Target, patch, stored_values
from jackfield.shape import check_for


@dataclass
class Context(hooks.Context):
    """What every call gets besides the caller and the cause."""

    #: What the last plan for this caller kept, as JSON; None the first time.
    state: Any


class TreatmentPlugin(Protocol):
    """What you write. It may also have `wishes(self)`, and a static `validate(settings)` that lists problems.

    The plugin keeps nothing of a caller itself: the state goes out with each plan and comes back with the next call.
    """

    def __init__(self, settings: Any) -> None:
        """Once per instance, before any caller."""

    def next(self, waiting: Waiting, cause: Cause, context: Context) -> Plan:
        """What to do now."""
        ...


def treatment(plugin: type) -> tuple[type, type]:
    """Makes the component's exports of it."""
    check_for(Plan)
    running = Running()

    class WaitTreatment:
        def init(self, config: types.Config) -> types.Wishes:
            return answering("wishes", types.Wishes, lambda: running.start(plugin, config))

        def next(
            self, now: types.Now, waiting: Waiting, state: bytes, cause: Cause, answers: list[types.Answer]
        ) -> Plan:
            def work() -> Plan:
                kept = json.loads(state) if state else None
                return running.plugin.next(waiting, cause, Context(running.id, running.host, now, Answers(answers), kept))

            return answering("next", Plan, work)

    return WaitTreatment, settings_export(getattr(plugin, "validate", None))


def plan(
    state: Any,
    steps: Optional[list[Step]],
    keys: str = "",
    wake_ms: Optional[int] = None,
    lookups: Optional[list[Lookup]] = None,
    reason: str = "",
    priority: Optional[int] = None,
    language: Optional[str] = None,
    variables: Optional[Mapping[str, str]] = None,
    facts: Optional[Mapping[str, str]] = None,
    stores: Optional[Stores] = None,
) -> Plan:
    """From now on these steps; what has not begun of an earlier plan is dropped. `state` is anything JSON can hold.

    Keys not in `keys` are not heard. `wake_ms`: call again after so long, at least 250 and at most an hour.
    """
    kept = json.dumps(state, separators=(",", ":")).encode()
    changes = patch(priority, language, variables, facts)
    return Plan(kept, steps, keys, wake_ms, lookups or [], changes, stored_values(stores), reason, [])


def go_on(state: Any, **more: Any) -> Plan:
    """The earlier steps go on; `keys` and `wake_ms` are this plan's all the same."""
    return plan(state, None, **more)


def answer() -> Step:
    """Answer the call; without it the caller hears early media or nothing."""
    return contract.Step_Answer()


def play(*recordings: str) -> Step:
    """Play recordings by the PBX's names, one after the other, e.g. `queue-thankyou`."""
    return contract.Step_Play(list(recordings))


def say_number(number: int) -> Step:
    return contract.Step_Say(contract.Say("number", str(number)))


def say_digits(digits: str) -> Step:
    return contract.Step_Say(contract.Say("digits", digits))


def music(class_name: str = "") -> Step:
    """Music of this class from now on, also between and after announcements; none: the PBX's usual class."""
    return contract.Step_Music(class_name)


def silence() -> Step:
    """No music from now on."""
    return contract.Step_Silence()


def collect(most: int, timeout_ms: int = 5000, between_ms: int = 3000, end_keys: str = "#") -> Step:
    """Gather keys; the hook is called with `Collected`: what was pressed, and what ended it."""
    return contract.Step_Collect(contract.Collect(most, timeout_ms, between_ms, end_keys, []))


def wait(ms: int) -> Step:
    """Milliseconds, at most an hour."""
    return contract.Step_Wait(ms)


def hand_over(target: Optional[Target] = None) -> Step:
    """The treatment ends. None: where the router said."""
    return contract.Step_HandOver(target)
