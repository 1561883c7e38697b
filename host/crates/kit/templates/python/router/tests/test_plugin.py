import json
import unittest

from jackfield.router import attribute, pass_on, queue, send
from jackfield.harness import Started, a_call

from plugin import Router, Settings

SETTINGS = {"vip": ["+4930123456"], "queue": "vip"}


class VipTest(unittest.TestCase):
    def setUp(self):
        self.started = Started(Router, SETTINGS)

    def test_a_caller_on_the_list_goes_to_the_vip_queue_before_others(self):
        decision = self.started.route(a_call(caller_e164="+4930123456"))
        self.assertEqual(decision.verdict, send(queue("vip", priority=10), "").verdict)
        self.assertEqual(attribute(decision.patch.variables, "VIP"), "yes")

    def test_nobody_else_does(self):
        decision = self.started.route(a_call(caller_e164="+493099999"))
        self.assertEqual(decision.verdict, pass_on().verdict)

    def test_a_caller_who_comes_back_is_left_to_the_next_router(self):
        decision = self.started.route(a_call(returned_from="queue", outcome="timed-out"))
        self.assertEqual(decision, pass_on("came back from a queue: timed-out"))

    def test_a_number_that_is_none_is_named(self):
        [problem] = Settings().validate(json.dumps({"vip": ["030 123"], "queue": "vip"}))
        self.assertEqual((problem.path, problem.severity), ("vip.0", "error"))
