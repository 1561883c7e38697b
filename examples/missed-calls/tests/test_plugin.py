import json
import unittest

from jackfield.harness import Started, an_answer, an_event, failed_answer
from jackfield.observer import Input_Answer, Input_Wake, ack, lookup, store, stored

from plugin import Observer

ADA = {"raw": "030123456", "e164": "+4930123456", "name": "Ada", "presentation": "allowed"}


def joined(seq):
    return an_event(seq, "caller.joined", "c1", entry="entry-1", queue="queue-3", data={"party": ADA})


def left(seq, exit="abandoned", waited_ms=42_000):
    return an_event(seq, "caller.left", "c1", entry="entry-1", queue="queue-3", data={"exit": exit, "waited_ms": waited_ms})


def who(seq, party=ADA):
    return Input_Answer(an_answer(f"who-{seq}", 200, party))


class MissedCallsTest(unittest.TestCase):
    def setUp(self):
        self.host = Started(Observer, {"url": "https://chat.example.org/in"})

    def posted(self, actions):
        [action] = actions
        return json.loads(action.value.question.value.body)["text"]

    def test_who_waits_is_kept_together_with_how_far_it_came(self):
        self.assertEqual(self.host.step(joined(1)), [store("waiting.entry-1", json.dumps(ADA)), ack(1)])

    def test_a_missed_call_is_told_and_only_then_acknowledged(self):
        self.assertEqual(self.host.step(left(2)), [lookup(stored("who-2", "waiting.entry-1"))])
        text = self.posted(self.host.step(who(2)))
        self.assertEqual(text, "Missed call: Ada +4930123456 hung up after 42 s in queue-3")
        done = self.host.step(Input_Answer(an_answer("post-2", 200)))
        self.assertEqual(done, [store("waiting.entry-1", None), ack(2)])

    def test_a_number_that_was_withheld_is_not_told(self):
        self.host.step(left(2))
        text = self.posted(self.host.step(who(2, {**ADA, "name": "", "presentation": "restricted"})))
        self.assertEqual(text, "Missed call: Somebody hung up after 42 s in queue-3")

    def test_while_the_chat_is_away_nothing_is_lost_and_nothing_overtakes(self):
        self.host.step(left(2), joined(3))
        self.host.step(who(2))
        [wake] = self.host.step(Input_Answer(failed_answer("post-2", "no-connection", "connection refused")))
        self.assertEqual(wake.value, 31_000_000_000)
        self.assertEqual(self.host.step(left(4, "answered")), [])
        self.assertEqual(self.host.step(Input_Wake()), [lookup(stored("who-2", "waiting.entry-1"))])
        self.host.step(who(2))
        acked = [action for action in self.host.step(Input_Answer(an_answer("post-2", 200))) if action in map(ack, range(9))]
        self.assertEqual(acked, [ack(2), ack(3), ack(4)])

    def test_a_message_that_the_chat_will_never_take_is_let_go(self):
        self.host.step(left(2))
        self.host.step(who(2))
        self.assertIn(ack(2), self.host.step(Input_Answer(an_answer("post-2", 404))))

    def test_who_was_answered_or_hung_up_at_once_is_no_missed_call(self):
        for event in (left(2, "answered"), left(2, waited_ms=1_000), an_event(2, "call.ended")):
            self.assertIn(ack(2), self.host.step(event))
