"""Everything the SDK makes for an author of a treatment fits the contract, without a word about what may grow."""

import unittest

from jackfield import treatment as sdk
from jackfield.harness import a_collection, a_failure
from jackfield.shape import check_for


class HelpersTest(unittest.TestCase):
    def test_plans_and_their_steps(self):
        steps = [
            sdk.answer(), sdk.play("a"), sdk.say_number(1), sdk.say_digits("1"), sdk.music(), sdk.silence(), sdk.collect(4), sdk.wait(1),
            sdk.hand_over(sdk.queue("a")),
        ]  # fmt: skip
        for plan in (sdk.plan(None, steps, lookups=[sdk.stored("last", "key")], stores={"a": "b"}), sdk.go_on({"round": 1})):
            self.assertIsNone(check_for(sdk.Plan)(plan))

    def test_why_it_is_called(self):
        match a_failure(1, "media-not-found"):
            case sdk.Failed(failed):
                self.assertEqual((failed.step, failed.error.code), (1, "media-not-found"))
            case other:
                self.fail(other)
        match a_collection("42", "end-key"):
            case sdk.Collected(collected):
                self.assertEqual((collected.keys, collected.ended_by), ("42", "end-key"))
            case other:
                self.fail(other)
