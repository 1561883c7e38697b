"""For unit tests, without a host: samples of what the host hands over, and a stand-in for the host."""

import importlib
import json
from typing import Any, Optional, Union

from wit_world.imports import log as _host
from wit_world.imports import types

#: What the plugin logged: level and message.
logged: list[tuple[int, str]] = []
_host.log = lambda level, message: logged.append((level, message))

#: Noon of a Monday, UTC.
NOW = types.Now(1_000_000_000, 1_795_435_200_000_000_000)

#: What is known of the host.
HOST = [("host", "test")]


def _with(sample: Any, changes: dict[str, Any]) -> Any:
    for name, value in changes.items():
        if not hasattr(sample, name):
            raise TypeError(f"{type(sample).__name__} has no field `{name}`")
        setattr(sample, name, value)
    return sample


def a_time(**changes: Any) -> Any:
    """What the clock on the wall shows."""
    return _with(types.CivilTime("UTC", 2026, 11, 23, 1, 12, 0, 0, False, 0), changes)


def a_call(**changes: Any) -> Any:
    """A new call; what a test is about goes into `changes`."""
    facts = importlib.import_module("wit_world.imports.facts")
    party = facts.Party("+4930123456", "", "allowed")
    call = types.Call(
        "call-1", "hq", "", "500", party, "+4930123456", "", "", 1, 0, None, "", [], [a_time()], []
    )
    return _with(call, changes)


def a_wait(**changes: Any) -> Any:
    """A caller who has just begun to wait."""
    contract = importlib.import_module("wit_world.exports.wait_treatment")
    return _with(contract.Waiting(a_call(), 0, None, [], None, None), changes)


def an_answer(id: str, status: int, body: Union[str, dict, list] = "") -> Any:
    """An answer to a lookup. For a stored value the status is 200."""
    text = body if isinstance(body, str) else json.dumps(body)
    return types.Answer(id, status, [], text.encode(), None)


def failed_answer(id: str, code: str, message: str = "") -> Any:
    """There is no answer, and why: a code, e.g. `timed-out`, and a sentence."""
    return types.Answer(id, 0, [], b"", types.Failure(code, message, True))


def a_failure(step: int, code: str, message: str = "") -> Any:
    """Why a treatment is called: a step failed, e.g. with `media-not-found`."""
    contract = importlib.import_module("wit_world.exports.wait_treatment")
    return contract.Cause_Failed(contract.FailedStep(step, types.Failure(code, message, False)))


def a_collection(keys: str, ended_by: str = "most") -> Any:
    """Why a treatment is called: the caller pressed these keys (`most`, `end-key`), or was too slow (`timeout`)."""
    contract = importlib.import_module("wit_world.exports.wait_treatment")
    return contract.Cause_Collected(contract.Collected(keys, ended_by))


def an_event(seq: int, kind: str, call: str = "", **more: Any) -> Any:
    """A committed event as an input; `more` are further keys of its JSON, such as `data`."""
    contract = importlib.import_module("wit_world.exports.observer")
    event = {"seq": seq, "type": kind, "call": call, "data": {}, **more}
    return contract.Input_Event(contract.Event(seq, kind, NOW.wall_ns, call, json.dumps(event)))


class Started:
    """A hook as the host would start it: `Started(Router, settings).route(a_call())`."""

    def __init__(self, export: type, settings: dict) -> None:
        # A component makes a new object of the class for each call: what is kept in one is gone.
        self._export = export
        self._state = b""
        self.wishes = self._export().init(types.Config("test", json.dumps(settings), HOST))

    def route(self, call: Optional[Any] = None, answers: Optional[list] = None) -> Any:
        return self._export().route(NOW, call or a_call(), answers or [])

    def next(self, cause: Any, waiting: Optional[Any] = None, answers: Optional[list] = None) -> Any:
        """For one caller, whose state it keeps between calls."""
        plan = self._export().next(NOW, waiting or a_wait(), self._state, cause, answers or [])
        self._state = plan.state
        return plan

    def step(self, *inputs: Any) -> list:
        return self._export().step(NOW, list(inputs))


class OneLink:
    """A connector with one link, as the host would start it. The host keeps the bytes that were not consumed."""

    def __init__(self, exports: tuple[type, type], link: str, settings: dict) -> None:
        self._connector, self._state = exports
        self.link, self._settings = link, json.dumps(settings)
        self._epoch, self._offset, self._unread = 0, 0, b""
        self._init(None)

    def up(self) -> list:
        """The connection is made."""
        self._epoch, self._offset, self._unread = self._epoch + 1, 0, b""
        return self._step(types.Input_LinkUp(types.LinkUp(self.link, self._epoch, "test", bytes(32), [])))

    def receive(self, said: str) -> list:
        """The PBX says this, in one piece."""
        self._unread += said.encode()
        return self._step(types.Input_Bytes(types.Bytes(self.link, self._epoch, self._offset, self._unread)))

    def command(self, id: int, kind: str, **arguments: str) -> list:
        """Somebody wants something done."""
        given = list(arguments.items())
        return self._step(types.Input_Command(types.Command(id, kind, given, NOW.monotonic_ns + 5_000_000_000)))

    def down(self) -> list:
        """The connection is gone."""
        return self._step(types.Input_LinkClosed(types.LinkClosed(self.link, self._epoch, "test")))

    def swap(self) -> None:
        """A new instance takes over from a snapshot, on the same connection."""
        self._init(self._state().snapshot())

    def _init(self, snapshot: Any) -> None:
        config = types.Config("test", self._settings, [(self.link, "tcp://test")], HOST)
        self._connector().init(config, snapshot, NOW)

    def _step(self, input: Any) -> list:
        actions = self._connector().step(NOW, [input])
        for action in actions:
            if isinstance(action, types.Action_Consumed):
                self._unread = self._unread[action.value.offset - self._offset :]
                self._offset = action.value.offset
        return actions
