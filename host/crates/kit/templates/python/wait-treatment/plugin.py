"""Greets the caller, plays music, lets a key choose a queue, and hands over."""

import re

from jackfield.treatment import (
    CameBack, Cause, Context, Failed, Key, Plan, Problem, Resumed, Started, Step, Waiting,
    answer, go_on, hand_over, music, plan, play, problem, queue, treatment, wait,
)  # fmt: skip


class Greeting:
    def __init__(self, settings):
        """What the admin configures; see settings.schema.json, by which it is valid when it comes here."""
        self.greeting = settings["greeting"]
        self.queues = settings.get("keys", {})
        self.wait_secs = settings.get("wait_secs", 20)

    def next(self, waiting: Waiting, cause: Cause, context: Context) -> Plan:
        """Called when something happened to this caller. A plan replaces what has not begun of the one before it."""
        # Every plan says which keys it listens to. Other keys are not heard by anybody.
        keys = "".join(self.queues)
        match cause:
            case Started():
                return plan(None, [answer(), play(self.greeting), *self.music_then_on()], keys)
            case Key(key) if key in self.queues:
                return plan(None, [hand_over(queue(self.queues[key]))], reason=f"the caller pressed {key}")
            # A recording that the PBX does not have must not cost the caller anything.
            case Failed(failed):
                return plan(None, self.music_then_on(), keys, reason=f"step {failed.step} failed: {failed.error.code}")
            # The place did not take the caller, or the host began anew: some music, and on.
            case CameBack() | Resumed():
                return plan(None, self.music_then_on(), keys)
            case _:
                return go_on(None, keys=keys)

    def music_then_on(self) -> list[Step]:
        # A hand-over without a place goes where the router said.
        return [music(), wait(self.wait_secs * 1000), hand_over()]

    @staticmethod
    def validate(settings) -> list[Problem]:
        """What a schema cannot say. An admin sees it before anything runs."""
        wrong = [key for key in settings.get("keys", {}) if not re.fullmatch(r"[0-9*#A-D]", key)]
        return [problem(f"keys.{key}", f"`{key}` is no key; use 0-9, *, # or A-D") for key in wrong]


WaitTreatment, Settings = treatment(Greeting)
