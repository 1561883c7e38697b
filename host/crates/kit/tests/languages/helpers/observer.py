"""Everything the SDK makes for an author of an observer fits the contract, without a word about what may grow."""

import unittest

from jackfield import observer as sdk
from jackfield.harness import NOW
from jackfield.shape import check_for


class HelpersTest(unittest.TestCase):
    def test_actions(self):
        actions = [sdk.ack(1), sdk.lookup(sdk.stored("last", "key")), sdk.store("a", None), sdk.wake_in(NOW, 1)]
        self.assertIsNone(check_for(list[sdk.Action])(actions))

    def test_wishes(self):
        wanted = sdk.wishes(events=["call.ended", "queue.*"])
        self.assertIsNone(check_for(sdk.Wishes)(wanted))
        self.assertEqual(wanted.facts, [("events", "call.ended queue.*")])
