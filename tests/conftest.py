"""For all tests. A busy machine is no finding, so no example has to be quick."""

import os

from hypothesis import settings

# No test asks a hub for anything, whatever it calls without the command that sees to that.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
