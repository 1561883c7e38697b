"""A connector: a pure state machine between a PBX's bytes and facts about its calls.

    class Mine:
        def __init__(self, settings, snapshot, now, config): ...
        def step(self, now, inputs): return [...]
        def snapshot(self): return Snapshot("mine", 1, b"...")

    Connector, State, Settings = connector(Mine)
"""

from typing import Any, Mapping, Optional, Protocol, Union

from wit_world.exports.settings import Problem as Problem
from wit_world.imports import facts as facts
from wit_world.imports import types
from wit_world.imports.types import (
    Action as Action,
    Bytes as Bytes,
    Command as Command,
    Config as Config,
    Input as Input,
    Input_Bytes as Input_Bytes,
    Input_Command as Input_Command,
    Input_Gap as Input_Gap,
    Input_HttpResponse as Input_HttpResponse,
    Input_LinkClosed as Input_LinkClosed,
    Input_LinkUp as Input_LinkUp,
    Input_Message as Input_Message,
    Input_SettingsChanged as Input_SettingsChanged,
    Input_Wake as Input_Wake,
    Now as Now,
    Part as Part,
    SecretHeader as SecretHeader,
    Snapshot as Snapshot,
)

from jackfield import log as log
from jackfield.glue import PluginError as PluginError, answering, fail as fail, parsed, problem as problem, settings_export
from jackfield.shape import check_for


class ConnectorPlugin(Protocol):
    """What you write. It may also have a static `validate(settings)` that lists problems."""

    def __init__(self, settings: Any, snapshot: Optional[Snapshot], now: Now, config: Config) -> None:
        """Once per instance. With a snapshot it goes on where that was taken, on the same open links."""

    def step(self, now: Now, inputs: list[Input]) -> list[Action]:
        """One transaction: its actions happen, in order, only if it returned."""
        ...

    def snapshot(self) -> Snapshot:
        """The state now, without bytes that were not consumed. Without it a crash or a swap costs a reconnect."""
        ...


def connector(plugin: type) -> tuple[type, type, type]:
    """Makes the component's exports of it."""
    check_for(list[Action])
    running: list[Any] = []

    def instance() -> Any:
        if not running:
            raise fail("not-initialised", "the host called a step before init")
        return running[0]

    class Connector:
        def init(self, config: Config, state: Optional[Snapshot], now: Now) -> list[Action]:
            def start() -> list[Action]:
                running[:] = [plugin(parsed(config.settings), state, now, config)]
                return []

            return answering("init", list[Action], start)

        def step(self, now: Now, inputs: list[Input]) -> list[Action]:
            return answering("step", list[Action], lambda: instance().step(now, inputs))

    class State:
        def snapshot(self) -> Snapshot:
            def take() -> Snapshot:
                if not hasattr(plugin, "snapshot"):
                    raise fail("not-supported", "this connector keeps no snapshots")
                return instance().snapshot()

            return answering("snapshot", Snapshot, take)

    return Connector, State, settings_export(getattr(plugin, "validate", None))


def consumed(link: str, offset: int) -> Action:
    """Bytes of `link` before `offset` are dealt with."""
    return types.Action_Consumed(types.Consumed(link, offset))


def send(link: str, epoch: int, *parts: Union[str, bytes, Part]) -> Action:
    """Sends text or bytes. Dropped when the epoch is over."""
    return types.Action_Send(types.Send(link, epoch, False, [_part(part) for part in parts]))


def send_text(link: str, epoch: int, *parts: Union[str, Part]) -> Action:
    """Sends one message of text on a link that has messages (WebSocket); `send` makes a binary one."""
    return types.Action_Send(types.Send(link, epoch, True, [_part(part) for part in parts]))


def _part(part: Union[str, bytes, Part]) -> Part:
    if isinstance(part, str):
        part = part.encode()
    return types.Part_Literal(part) if isinstance(part, bytes) else part


def secret(name: str, form: str, prefix: str = "", suffix: str = "") -> Part:
    """A secret that the host puts in at the socket, in a form such as `plain` or `md5-hex`."""
    return types.Part_Secret(types.SecretPart(name, form, prefix.encode(), suffix.encode()))


def fact(fact: facts.Fact, at_pbx_ns: Optional[int] = None, more: Optional[Mapping[str, str]] = None) -> Action:
    """Tells a fact, with the PBX's own time of it (nanoseconds since the Unix epoch) when it says; `more` is what the
    fact has no field for."""
    return types.Action_Event(types.Event(at_pbx_ns, fact, _attributes(more)))


def done(command: Command, detail: str = "") -> Action:
    """Ends a command well; `detail` is JSON text."""
    return _outcome(command, "done", None, detail)


def failed(command: Command, code: str, message: str, retryable: bool = False) -> Action:
    """Ends a command that the PBX refused. What is `retryable` may be tried again by the host."""
    return _outcome(command, "failed", types.Error(code, message, retryable))


def rejected(command: Command, code: str, message: str) -> Action:
    """Ends a command that makes no sense here."""
    return _outcome(command, "rejected", types.Error(code, message, False))


def _outcome(command: Command, outcome: str, error: Optional[types.Error], detail: str = "") -> Action:
    return types.Action_CommandOutcome(types.CommandOutcome(command.id, outcome, error, detail))


def argument(command: Command, name: str) -> Optional[str]:
    """The value of an argument; None when it was not given."""
    return next((value for key, value in command.arguments if key == name), None)


def picture(id: int, scope: str, things: list[facts.Fact]) -> list[Action]:
    """A whole picture of `scope` (`all`, `calls`, `queues` or `extensions`): begin, each thing, end."""
    return [
        types.Action_ResyncBegin(types.ResyncBegin(id, scope)),
        *(item(id, thing) for thing in things),
        types.Action_ResyncEnd(id),
    ]


def item(id: int, thing: facts.Fact, more: Optional[Mapping[str, str]] = None) -> Action:
    """One thing of the picture of that id, when the picture is told over several steps."""
    return types.Action_ResyncItem(types.ResyncItem(id, thing, _attributes(more)))


def http(
    id: int,
    url: str,
    method: str = "GET",
    headers: Optional[Mapping[str, str]] = None,
    secret_headers: Optional[list[SecretHeader]] = None,
    body: Union[str, bytes, list[Union[str, bytes, Part]]] = b"",
    timeout_ms: int = 0,
) -> Action:
    """Asks a web service that the manifest names and the admin allows; a body of pieces may have secrets among them.
    The input `Input_HttpResponse` carries `id`."""
    pieces = [_part(part) for part in (body if isinstance(body, list) else [body])]
    asked = types.HttpRequest(id, method, url, _attributes(headers), secret_headers or [], pieces, timeout_ms, [])
    return types.Action_HttpRequest(asked)


def secret_header(name: str, before: str, secret: str) -> SecretHeader:
    """A header such as `authorization: Bearer <the secret>`. The host puts the secret in; the plugin never sees it."""
    return types.SecretHeader(name, before, types.SecretPart(secret, "plain", b"", b""))


def _attributes(values: Optional[Mapping[str, str]]) -> list[tuple[str, str]]:
    return list((values or {}).items())


def wake_in(now: Now, ms: int) -> Action:
    """A `wake` so many milliseconds from now; replaces the one before."""
    return types.Action_WakeAt(now.monotonic_ns + ms * 1_000_000)


def close(link: str, reason: str, retry: str = "normal") -> Action:
    """Closes a link; dial again soon (`normal`), late (`slow`), or not before the config changes
    (`never-until-config-change`)."""
    return types.Action_Close(types.Close(link, reason, retry))
