"""Everything the SDK makes for an author of a router fits the contract, without a word about what may grow."""

import unittest

from jackfield import router as sdk
from jackfield.harness import an_answer, failed_answer
from jackfield.shape import check_for
from wit_world.imports import types

LOOKUPS = [
    sdk.http("crm", "https://crm.example.org", "POST", secret_headers=[sdk.secret_header("authorization", "Bearer ", "crm")]),
    sdk.stored("last", "key"),
]


class HelpersTest(unittest.TestCase):
    def fits(self, annotation, *values):
        for value in values:
            self.assertIsNone(check_for(annotation)(value), value)

    def test_places_to_go(self):
        self.fits(sdk.Target, sdk.queue("a"), sdk.extension("500"), sdk.dialplan("from-inside", "500"), sdk.continue_in_dialplan())
        self.assertEqual(sdk.hang_up(17), types.Target_HangUp(types.HangUpTarget(17, [])))

    def test_decisions(self):
        decisions = [sdk.pass_on(stores={"a": "b", "c": None}), sdk.send(sdk.hang_up(), "closed"), sdk.treat("busy"), sdk.need(LOOKUPS)]
        self.fits(sdk.Decision, *decisions)

    def test_an_answer_that_failed_says_why_and_is_none_that_worked(self):
        failed = failed_answer("crm", "timed-out", "nothing came for 2 s")
        self.assertEqual(failed.error.message, "nothing came for 2 s")
        answers = [failed, an_answer("crm", 404), an_answer("crm", 200)]
        self.assertEqual([sdk.worked(answer) for answer in answers], [False, False, True])

    def test_a_validation_that_answers_nonsense_is_a_problem_with_the_settings_not_a_trap(self):
        class Mine:
            @staticmethod
            def validate(settings):
                return ["nonsense"]

        _, settings = sdk.router(Mine)
        [problem] = settings().validate("{}")
        self.assertIn("validate[0] is 'nonsense', must be a Problem", problem.message)
        self.assertEqual(problem.severity, "error")
