import unittest

from jackfield.harness import OneLink
from wit_world.imports import types

from plugin import Connector, State


def connected():
    """A host, and a PBX that has one call; what was done so far."""
    host = OneLink((Connector, State), "line", {})
    return host, host.up() + host.receive("HAS 16 up 5550000\nEND\n")


def facts(actions):
    return [action.value.fact for action in actions if isinstance(action, types.Action_Event)]


class LinesTest(unittest.TestCase):
    def test_after_each_connect_the_picture_is_told(self):
        _, begin = connected()
        sent = [action.value.parts for action in begin if isinstance(action, types.Action_Send)]
        self.assertEqual(b"".join(part.value for [part] in sent), b"HELLO jackfield\nLIST\n")
        told = [type(action).__name__ for action in begin if "Resync" in type(action).__name__]
        self.assertEqual(told, ["Action_ResyncBegin", "Action_ResyncItem", "Action_ResyncEnd"])

    def test_however_the_bytes_are_cut_the_facts_are_the_same_also_when_another_version_takes_over(self):
        lines = "RING 17 5551234\nUP 17\r\nBYE 17 16\n"
        whole = facts(connected()[0].receive(lines))
        self.assertEqual(len(whole), 3)
        for size in range(1, len(lines)):
            host, _ = connected()
            cut = []
            for at in range(0, len(lines), size):
                cut += host.receive(lines[at : at + size])
                host.swap()
            self.assertEqual(facts(cut), whole, f"in pieces of {size}")

    def test_nonsense_is_logged_and_costs_nothing(self):
        self.assertEqual(len(facts(connected()[0].receive("\0\n\nBYE\nRING 17 5551234\n"))), 1)

    def test_every_command_ends_exactly_once(self):
        host, _ = connected()
        outcomes = [action.value.outcome for action in host.command(1, "pause") + host.command(2, "resync")
                    if isinstance(action, types.Action_CommandOutcome)]  # fmt: skip
        self.assertEqual(outcomes, ["rejected", "done"])
