"""Makes torch look as if it were not installed.

The worker's own environment has none; this one may, for the peers, and transformers would load it at once: half a gigabyte
and seconds that no worker ever has.
"""

import sys


def hide_torch() -> None:
    """Before anything is imported that looks for it."""
    assert "torch" not in sys.modules, "too late"  # noqa: S101  a mistake in this code, not in the world
    # Python's own way to say that there is none.
    sys.modules["torch"] = None  # type: ignore[assignment]
