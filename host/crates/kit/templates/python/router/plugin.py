"""Sends callers on a list to a queue of their own, and leaves everybody else to the next router."""

import re

from jackfield.router import Call, Context, Decision, Problem, pass_on, problem, queue, router, send


class Vip:
    def __init__(self, settings):
        """What the admin configures; see settings.schema.json."""
        self.vip = set(settings["vip"])
        self.target = queue(settings["queue"], priority=settings.get("priority", 10))

    def route(self, call: Call, context: Context) -> Decision:
        # It has waited in that queue already, and nobody came: the next router may know better.
        if call.returned_from:
            return pass_on(f"came back from a {call.returned_from}: {call.outcome}")
        if call.caller_e164 not in self.vip:
            return pass_on("not on the list")
        return send(self.target, "on the VIP list", variables={"VIP": "yes"})

    @staticmethod
    def validate(settings) -> list[Problem]:
        return [
            problem(f"vip.{index}", f"`{number}` is no number in E.164; write it as +4930123456")
            for index, number in enumerate(settings["vip"])
            if not re.fullmatch(r"\+[1-9][0-9]{3,14}", number)
        ]


Router, Settings = router(Vip)
