"""What the component is made of: the exports of `plugin.py`, between a guard before and a guard after it."""

from jackfield import guard

guard.before_the_plugin()

import plugin  # noqa: E402

Router = getattr(plugin, "Router", None)
WaitTreatment = getattr(plugin, "WaitTreatment", None)
Observer = getattr(plugin, "Observer", None)
Connector = getattr(plugin, "Connector", None)
State = getattr(plugin, "State", None)
Settings = getattr(plugin, "Settings", None)

guard.after_the_plugin()
