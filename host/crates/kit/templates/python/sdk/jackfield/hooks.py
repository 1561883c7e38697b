"""What routers, wait treatments and observers share: places to go, questions to the host, the answers."""

import json
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Union

from wit_world.exports.settings import Problem as Problem
from wit_world.imports import types
from wit_world.imports.types import (
    Answer as Answer,
    Call as Call,
    CivilTime as CivilTime,
    Lookup as Lookup,
    Now as Now,
    SecretHeader as SecretHeader,
    Store as Store,
    Target as Target,
    Wishes as Wishes,
)

from jackfield import log as log
from jackfield.glue import PluginError as PluginError, fail as fail, parsed, problem as problem

Attributes = list[tuple[str, str]]


def wishes(time_zones: Optional[list[str]] = None, events: Optional[list[str]] = None) -> Wishes:
    """What a hook needs with every call: IANA names of the time zones whose civil time it reads, at most 8.

    For an observer: the kinds of `events` it wants, e.g. `["call.ended", "queue.*"]`; without it, all.
    """
    return types.Wishes(time_zones or [], [] if events is None else [("events", " ".join(events))])


def queue(name: str, priority: Optional[int] = None, timeout_secs: int = 0) -> Target:
    """Into a queue of the PBX. The call comes back after `timeout_secs`; 0: the queue's own rules."""
    return types.Target_Queue(types.QueueTarget(name, priority, timeout_secs, []))


def extension(number: str, timeout_secs: int = 0) -> Target:
    """To an extension. The call comes back when nobody answers within `timeout_secs`; 0: the host's usual time."""
    return types.Target_Extension(types.ExtensionTarget(number, timeout_secs, []))


def dialplan(context: str, extension: str, priority: int = 1) -> Target:
    """To a place in the PBX's dialplan."""
    return types.Target_Dialplan(types.DialplanTarget(context, extension, priority, []))


def continue_in_dialplan() -> Target:
    """On in the dialplan, behind the place where the call was handed over."""
    return types.Target_ContinueInDialplan()


def hang_up(cause: int = 16) -> Target:
    """The call ends; 16 is politely, 17 busy, 21 rejected (Q.850)."""
    return types.Target_HangUp(types.HangUpTarget(cause, []))


def attributes(values: Optional[Mapping[str, str]]) -> Attributes:
    return list((values or {}).items())


def attribute(values: Attributes, name: str) -> Optional[str]:
    """The value of that name; None when there is none."""
    return next((value for key, value in values if key == name), None)


def patch(
    priority: Optional[int] = None,
    language: Optional[str] = None,
    variables: Optional[Mapping[str, str]] = None,
    facts: Optional[Mapping[str, str]] = None,
) -> types.Patch:
    """What changes on the call for those after it. Variables are seen by the PBX too, facts by hooks only."""
    return types.Patch(priority, language, attributes(variables), attributes(facts))


#: Values to keep in the instance's own store; None removes the key.
Stores = Mapping[str, Union[str, bytes, None]]


def stored_values(values: Optional[Stores]) -> list[Store]:
    return [store_value(key, value) for key, value in (values or {}).items()]


def store_value(key: str, value: Union[str, bytes, None]) -> Store:
    return types.Store(key, value.encode() if isinstance(value, str) else value, [])


def http(
    id: str,
    url: str,
    method: str = "GET",
    headers: Optional[Mapping[str, str]] = None,
    secret_headers: Optional[list[SecretHeader]] = None,
    body: Union[str, bytes] = b"",
    timeout_ms: int = 0,
) -> Lookup:
    """Asks a web service that the manifest names and the admin allows. The answer carries `id`."""
    content = body.encode() if isinstance(body, str) else body
    request = types.HttpRequest(method, url, attributes(headers), secret_headers or [], content, timeout_ms)
    return types.Lookup(id, types.Question_Http(request), [])


def stored(id: str, key: str) -> Lookup:
    """Asks for the value of a key in the instance's own store."""
    return types.Lookup(id, types.Question_Stored(key), [])


def secret_header(name: str, before: str, secret: str) -> SecretHeader:
    """A header such as `authorization: Bearer <the secret>`. The host puts the secret in; the plugin never sees it."""
    return types.SecretHeader(name, before, types.SecretPart(secret, "plain", b"", b""))


def worked(answer: Answer) -> bool:
    """Did a lookup go well? If not, `answer.error.message` says why when there is an error, or the status does."""
    return answer.error is None and 200 <= answer.status < 300


class Answers:
    """What the host found out so far."""

    def __init__(self, answers: list[Answer]) -> None:
        self.all = answers

    def get(self, id: str) -> Optional[Answer]:
        """The answer to the lookup of that id; None when it is not there yet."""
        return next((answer for answer in self.all if answer.id == id), None)

    def text(self, id: str) -> Optional[str]:
        """The body as text, of an answer that went well (status 200 to 299); else None."""
        answer = self.get(id)
        return answer.body.decode("utf-8", "replace") if answer and worked(answer) else None

    def json(self, id: str) -> Any:
        """The body as JSON, of an answer that went well and is JSON; else None."""
        body = self.text(id)
        try:
            return None if body is None else json.loads(body)
        except ValueError:
            return None


@dataclass
class Context:
    """What every function of a hook gets besides its own input."""

    #: The instance's id in the config.
    id: str
    #: What is known of the host, e.g. `host`: its version.
    host: Attributes
    now: Now
    answers: Answers


class Running:
    """The plugin's object, and what it was made from.

    It lives beside the exported class and not in an object of it: in a component each call gets a new one of those.
    """

    def __init__(self) -> None:
        self.id = ""
        self.host: Attributes = []
        self._plugin: Any = None

    def start(self, plugin: type, config: types.Config) -> types.Wishes:
        self.id, self.host, self._plugin = config.id, config.facts, plugin(parsed(config.settings))
        return self._plugin.wishes() if hasattr(plugin, "wishes") else wishes()

    @property
    def plugin(self) -> Any:
        if self._plugin is None:
            raise fail("not-initialised", "the host called before init")
        return self._plugin
