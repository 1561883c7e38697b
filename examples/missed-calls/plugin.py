"""Tells a chat about callers who hung up while they waited.

One thing at a time: an event is acknowledged when the chat has heard of it, so nothing is lost when the chat, this plugin or
the host is away; after a crash the chat may hear of one call twice. Who waits is kept in the store, because what a
caller is called comes with `caller.joined`, perhaps long before `caller.left`.
"""

import json
from collections import deque
from typing import Any, Optional

from jackfield.observer import (
    Action, Answer, Context, Event, Input, Input_Answer, Input_Event, Input_Lost, Input_Wake, Now,
    ack, details, http, log, lookup, observer, store, stored, wake_in, worked,
)  # fmt: skip


class MissedCalls:
    def __init__(self, settings):
        """What the admin configures; see settings.schema.json."""
        self.url = settings["url"]
        self.least_ms = settings.get("least_secs", 5) * 1000
        self.again_ms = settings.get("again_secs", 30) * 1000
        #: Events not dealt with yet, in order.
        self.todo: deque[Event] = deque()
        #: The lookup whose answer is awaited.
        self.asked: Optional[str] = None
        self.asleep = False

    def step(self, inputs: list[Input], context: Context) -> list[Action]:
        actions: list[Action] = []
        for input in inputs:
            match input:
                case Input_Event(event):
                    self.todo.append(event)
                case Input_Answer(answer) if answer.id == self.asked:
                    self.asked = None
                    actions += self.heard(answer, context.now)
                case Input_Wake():
                    self.asleep = False
                case Input_Lost(seq):
                    log.warning(f"events up to {seq} are gone: missed calls among them are not told")
        return actions + self.go_on()

    def go_on(self) -> list[Action]:
        """Deals with what needs nobody else, up to the first missed call."""
        actions: list[Action] = []
        while self.todo and self.asked is None and not self.asleep:
            event = self.todo[0]
            if self.is_missed(event):
                self.asked = f"who-{event.seq}"
                return [*actions, lookup(stored(self.asked, waiting(event)))]
            if event.kind == "caller.joined":
                party = details(event)["data"].get("party") or {}
                actions.append(store(waiting(event), json.dumps(party)))
            elif event.kind == "caller.left":
                actions.append(store(waiting(event), None))
            actions.append(ack(self.todo.popleft().seq))
        return actions

    def heard(self, answer: Answer, now: Now) -> list[Action]:
        """The store said who it was, or the chat took the message, or did not."""
        event = self.todo[0]
        if answer.id.startswith("who-"):
            party = json.loads(answer.body) if worked(answer) else {}
            self.asked = f"post-{event.seq}"
            body = json.dumps({"text": sentence(event, party)})
            request = http(self.asked, self.url, "POST", {"content-type": "application/json"}, body=body)
            return [lookup(request)]
        if not worked(answer) and not is_final(answer):
            why = answer.error.message if answer.error else f"status {answer.status}"
            log.warning(f"the chat was not reached ({why}); trying again in {self.again_ms // 1000} s")
            self.asleep = True
            return [wake_in(now, self.again_ms)]
        if not worked(answer):
            log.error(f"the chat refused a message with status {answer.status}; look at `url` in the settings")
        self.todo.popleft()
        return [store(waiting(event), None), ack(event.seq)]

    def is_missed(self, event: Event) -> bool:
        if event.kind != "caller.left":
            return False
        data = details(event)["data"]
        return data["exit"] == "abandoned" and data["waited_ms"] >= self.least_ms


def is_final(answer: Answer) -> bool:
    """Would the same request be refused again?"""
    return 400 <= answer.status < 500 and answer.status not in (408, 429)


def waiting(event: Event) -> str:
    return f"waiting.{details(event).get('entry', '')}"


def sentence(event: Event, party: dict[str, Any]) -> str:
    # A number that the caller withheld is for nobody's screen.
    number = "" if party.get("presentation") == "restricted" else party.get("e164") or party.get("raw") or ""
    who = " ".join(part for part in (party.get("name"), number) if part) or "Somebody"
    told = details(event)
    return f"Missed call: {who} hung up after {told['data']['waited_ms'] // 1000} s in {told.get('queue', 'a queue')}"


Observer, Settings = observer(MissedCalls)
