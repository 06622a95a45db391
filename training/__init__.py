"""How the default model was made: read → split → train → calibrate → export → evaluate → model card. Start at `__main__`."""

from typing import Final

VERSION: Final = "0.9.1"
"""The version of the model that this code makes."""

MAX_TOKENS: Final = 256
"""The length at which a text is cut; positions up to 512 exist, those beyond 256 were never trained."""

REOPENED: Final = "reopened.json"
"""In the work folder, from `reopen`: that its weights have been integers, and the version of the model that they were."""
