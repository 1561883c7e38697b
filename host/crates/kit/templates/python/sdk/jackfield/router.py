"""A router: it decides where a call goes.

    class Vip:
        def __init__(self, settings):
            self.vip = settings["vip"]

        def route(self, call, context):
            if call.caller_e164 in self.vip:
                return send(queue("vip"), "on the VIP list")
            return pass_on()

    Router, Settings = router(Vip)
"""

from typing import Any, Mapping, Optional, Protocol, Union

from wit_world.exports import router as contract
from wit_world.exports.router import Decision as Decision
from wit_world.imports import types

from jackfield.glue import answering, settings_export
from jackfield.hooks import *  # noqa: F401,F403
from jackfield.hooks import Answers, Call, Context, Lookup, Running, Stores, Target, attributes, patch, stored_values
from jackfield.shape import check_for


class RouterPlugin(Protocol):
    """What you write. It may also have `wishes(self)`, and a static `validate(settings)` that lists problems."""

    def __init__(self, settings: Any) -> None:
        """Once per instance, before any call."""

    def route(self, call: Call, context: Context) -> Decision:
        """Decides. After `need` it is asked about the same call again, then with `context.answers`."""
        ...


def router(plugin: type) -> tuple[type, type]:
    """Makes the component's exports of it."""
    check_for(Decision)
    running = Running()

    class Router:
        def init(self, config: types.Config) -> types.Wishes:
            return answering("wishes", types.Wishes, lambda: running.start(plugin, config))

        def route(self, now: types.Now, call: Call, answers: list[types.Answer]) -> Decision:
            def work() -> Decision:
                return running.plugin.route(call, Context(running.id, running.host, now, Answers(answers)))

            return answering("route", Decision, work)

    return Router, settings_export(getattr(plugin, "validate", None))


def pass_on(reason: str = "", **extras: Any) -> Decision:
    """No opinion: the next router is asked."""
    return _decided(contract.Verdict_Pass(), reason, **extras)


def send(target: Target, reason: str, **extras: Any) -> Decision:
    """There it goes. Extras: `priority`, `language`, `variables`, `facts`, `stores`."""
    return _decided(contract.Verdict_Send(target), reason, **extras)


def treat(
    reason: str,
    treatment: str = "",
    then: Optional[Target] = None,
    treatment_facts: Optional[Mapping[str, str]] = None,
    **extras: Any,
) -> Decision:
    """A treatment comforts the caller first; `then` is where the caller goes when it says no other place."""
    treat = contract.Treat(treatment, then, attributes(treatment_facts))
    return _decided(contract.Verdict_Treat(treat), reason, **extras)


def need(lookups: Union[Lookup, list[Lookup]], reason: str = "") -> Decision:
    """Not yet: the host looks these up and asks again, with all answers so far. At most 4 for each decision."""
    return _decided(contract.Verdict_Need(lookups if isinstance(lookups, list) else [lookups]), reason)


def _decided(
    verdict: contract.Verdict,
    reason: str,
    priority: Optional[int] = None,
    language: Optional[str] = None,
    variables: Optional[Mapping[str, str]] = None,
    facts: Optional[Mapping[str, str]] = None,
    stores: Optional[Stores] = None,
) -> Decision:
    return Decision(verdict, patch(priority, language, variables, facts), stored_values(stores), reason, [])
