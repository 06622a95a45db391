"""For all tests. A busy machine is no finding, so no example has to be quick."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
