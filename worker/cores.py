"""How many cores this process may use: as many runs of a model are under way at once."""

import os


def usable_cores() -> int:
    """Those that it is bound to, where the system can say so, as Linux does; else all that there are."""
    bound_to = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if bound_to is None else len(bound_to(0))
