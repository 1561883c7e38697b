import unittest

from jackfield.harness import Started, an_event
from jackfield.observer import ack, store

from plugin import Observer


def observed(event):
    return Started(Observer, {"keep": 10}).step(event)


class EndedTest(unittest.TestCase):
    def test_a_call_that_ended_is_kept_and_acknowledged(self):
        event = an_event(17, "call.ended", "c1")
        self.assertEqual(observed(event), [store("ended.7", event.value.json), ack(17)])

    def test_other_events_are_acknowledged_only(self):
        self.assertEqual(observed(an_event(3, "call.started", "c1")), [ack(3)])

    def test_an_event_that_comes_again_changes_nothing(self):
        event = an_event(17, "call.ended", "c1")
        self.assertEqual(observed(event), observed(event))
