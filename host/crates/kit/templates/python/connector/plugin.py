"""Tells the calls of a PBX that speaks lines of text.

| the connector says | the PBX answers |
| --- | --- |
| `HELLO client` | nothing |
| `LIST` | `HAS 17 ringing 5551234` for each call, then `END` |

| by itself the PBX says | |
| --- | --- |
| `RING 17 5551234` | a call comes in |
| `UP 17` | it is answered |
| `BYE 17 16` | it is over, with its Q.850 cause |
"""

import json
from typing import Optional

from wit_world.imports import types
from wit_world.imports.facts import (
    Cause, Fact_LegEnded, Fact_LegStarted, Fact_LegState, Leg, LegEnded, LegState, Party,
)  # fmt: skip

from jackfield.connector import (
    Action, Bytes, Command, Input, Input_Bytes, Input_Command, Input_Gap, Input_LinkClosed, Input_LinkUp, Now, Snapshot,
    close, connector, consumed, done, fact, fail, item, log, rejected, send,
)  # fmt: skip

#: The link's name in plugin.toml.
LINK = "line"


class Lines:
    def __init__(self, settings, snapshot: Optional[Snapshot], now: Now, config):
        """Once per instance. All it remembers is here; everything else it may know comes in as data."""
        self.client = settings.get("client", "jackfield")
        #: The connection that is up; sends to an older one are dropped by the host.
        self.epoch: Optional[int] = None
        #: Pictures asked for so far; the last one is being told while `listing`.
        self.pictures = 0
        self.listing = False
        # With a snapshot it goes on in the middle of the same connection: after a crash, or as a newer version.
        if snapshot is not None:
            if snapshot.version != 1:
                raise fail("unknown-snapshot", f"a snapshot of version {snapshot.version}; this is version 1")
            self.epoch, self.pictures, self.listing = json.loads(snapshot.data)

    def snapshot(self) -> Snapshot:
        return Snapshot("{{id}}", 1, json.dumps([self.epoch, self.pictures, self.listing]).encode())

    def step(self, now: Now, inputs: list[Input]) -> list[Action]:
        """One transaction: what it answers happens only if it returned."""
        return [action for input in inputs for action in self.hear(input)]

    def hear(self, input: Input) -> list[Action]:
        match input:
            case Input_LinkUp(link):
                self.epoch, self.listing = link.epoch, False
                return self.say(f"HELLO {self.client}") + self.ask_for_picture()
            case Input_LinkClosed():
                self.epoch, self.listing = None, False
            case Input_Bytes(bytes):
                return self.read(bytes)
            case Input_Gap():
                # In the middle of a picture nobody can tell what it lacks: connect again.
                return [close(LINK, "bytes of a picture were lost")] if self.listing else self.ask_for_picture()
            case Input_Command(command):
                return self.carry_out(command)
        return []

    def say(self, line: str) -> list[Action]:
        return [] if self.epoch is None else [send(LINK, self.epoch, f"{line}\n")]

    def carry_out(self, command: Command) -> list[Action]:
        """Every command ends exactly once: done, failed, rejected or unknown."""
        if command.kind != "resync":
            return [rejected(command, "unknown-command", f"this connector does not know `{command.kind}`")]
        # One picture at a time; the one under way will do.
        asked = self.ask_for_picture() if self.epoch is not None and not self.listing else []
        return [*asked, done(command)]

    def ask_for_picture(self) -> list[Action]:
        """After each connect, and whenever something may have been missed."""
        self.pictures += 1
        self.listing = True
        return [types.Action_ResyncBegin(types.ResyncBegin(self.pictures, "calls")), *self.say("LIST")]

    def read(self, bytes: Bytes) -> list[Action]:
        """Deals with the whole lines. The rest stays with the host and comes again with what follows."""
        *lines, rest = bytes.data.split(b"\n")
        actions = []
        for line in lines:
            # A caller may choose the bytes of their name: nothing here may raise.
            actions += self.line(line.decode("utf-8", "replace").rstrip("\r"))
        return [*actions, consumed(LINK, bytes.offset + len(bytes.data) - len(rest))]

    def line(self, line: str) -> list[Action]:
        match line.split(" "):
            case ["HAS", id, state, number] if self.listing:
                return [item(self.pictures, Fact_LegStarted(leg(id, state_of(state), number)))]
            case ["END"] if self.listing:
                self.listing = False
                return [types.Action_ResyncEnd(self.pictures)]
            case ["RING", id, number]:
                return [fact(Fact_LegStarted(leg(id, "alerting", number)))]
            case ["UP", id]:
                return [fact(Fact_LegState(LegState(id, "answered")))]
            case ["BYE", id, cause]:
                q850 = int(cause) if cause.isascii() and cause.isdigit() and len(cause) <= 3 else 0
                return [fact(Fact_LegEnded(LegEnded(id, Cause(q850, 0, ""), "")))]
            case [word, *_]:
                # Its first word only: the rest may be somebody's name or number.
                log.warning(f"a line that means nothing: {word} ...")
        return []


Connector, State, Settings = connector(Lines)


def state_of(word: str) -> str:
    return {"ringing": "alerting", "up": "answered"}.get(word, "started")


def leg(id: str, state: str, number: str) -> Leg:
    return Leg(
        id=id,
        related=None,
        direction="from-device",
        device=f"line/{id}",
        extension=None,
        state=state,
        party=Party(number, "", ""),
        dialled="",
    )
