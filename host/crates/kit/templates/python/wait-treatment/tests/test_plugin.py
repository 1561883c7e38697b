import json
import unittest

from jackfield.harness import Started as Host, a_failure
from jackfield.treatment import Key, Started, answer, hand_over, music, play, queue, wait

from plugin import Settings, WaitTreatment


def planned(cause):
    return Host(WaitTreatment, {"greeting": "welcome", "keys": {"1": "sales"}}).next(cause)


class GreetingTest(unittest.TestCase):
    def test_a_caller_is_greeted_hears_music_and_is_handed_over(self):
        plan = planned(Started())
        self.assertEqual(plan.steps, [answer(), play("welcome"), music(), wait(20_000), hand_over()])
        self.assertEqual(plan.keys, "1")

    def test_a_key_chooses_the_queue(self):
        plan = planned(Key("1"))
        self.assertEqual(plan.steps, [hand_over(queue("sales"))])
        self.assertEqual(plan.reason, "the caller pressed 1")

    def test_a_key_that_means_nothing_changes_nothing(self):
        self.assertIsNone(planned(Key("9")).steps)

    def test_a_recording_that_is_not_there_is_left_out(self):
        plan = planned(a_failure(1, "media-not-found"))
        self.assertEqual(plan.steps, [music(), wait(20_000), hand_over()])

    def test_a_key_that_is_none_is_named(self):
        [problem] = Settings().validate(json.dumps({"greeting": "welcome", "keys": {"12": "sales"}}))
        self.assertEqual((problem.path, problem.severity), ("keys.12", "error"))
