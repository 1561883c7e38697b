"""Keeps the last calls that ended, as the events told them."""

from jackfield.observer import Action, Context, Input, Input_Event, Input_Lost, ack, log, observer, store


class Ended:
    def __init__(self, settings):
        """What the admin configures; see settings.schema.json, by which it is valid when it comes here."""
        self.keep = settings.get("keep", 100)

    def step(self, inputs: list[Input], context: Context) -> list[Action]:
        """One transaction: what it stores and how far it came are kept together, or not at all."""
        actions = []
        for input in inputs:
            match input:
                case Input_Event(event):
                    # The same event may come again after a crash: its number makes the key the same, too.
                    if event.kind == "call.ended":
                        actions.append(store(f"ended.{event.seq % self.keep}", event.json))
                    actions.append(ack(event.seq))
                case Input_Lost(seq):
                    log.warning(f"events up to {seq} are gone")
        return actions


Observer, Settings = observer(Ended)
