"""Everything the SDK makes for an author of a connector fits the contract, without a word about what may grow."""

import unittest

from jackfield import connector as sdk
from jackfield.harness import NOW
from jackfield.shape import check_for
from wit_world.imports.facts import Fact_LegState, LegState

COMMAND = sdk.Command(1, "probe", [], 0)
ANSWERED = Fact_LegState(LegState("1", "answered"))


class HelpersTest(unittest.TestCase):
    def test_actions(self):
        actions = [
            sdk.consumed("line", 1), sdk.send("line", 1, "a", sdk.secret("password", "plain")), sdk.close("line", "done"),
            sdk.fact(ANSWERED), sdk.fact(ANSWERED, 1, {"trunk": "a"}), *sdk.picture(1, "calls", [ANSWERED]), sdk.wake_in(NOW, 1),
            sdk.done(COMMAND), sdk.failed(COMMAND, "refused", ""), sdk.rejected(COMMAND, "unknown-command", ""),
            sdk.http(1, "https://pbx.example.org", body=["client_secret=", sdk.secret("pbx", "plain")], secret_headers=[sdk.secret_header("authorization", "Bearer ", "pbx")]),
        ]  # fmt: skip
        self.assertIsNone(check_for(list[sdk.Action])(actions))

    def test_text_is_text_on_a_link_that_has_messages(self):
        self.assertEqual([sdk.send("ws", 1, "a").value.text, sdk.send_text("ws", 1, "a").value.text], [False, True])
