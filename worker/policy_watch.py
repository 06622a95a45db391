"""A policy's file, looked at again and again: who changes it changes the worker, if what it holds is right.

    file ─► changed, and the same at two looks ─► read and checked ─► adopted
                                                          └─────────► refused: the last good one stays

Knows neither time nor metrics: whoever looks decides how often, and says what came of it.
"""

from pathlib import Path

from worker.errors import PolicyError, StartupError
from worker.files import MIB, read_bytes
from worker.operating_points import Points
from worker.policy import Policy
from worker.policy_file import read_policy
from worker.records import PolicyVersion


class PolicyWatch:
    """Looks at one file.

    Args:
        file: the policy's.
        points: the model's operating points, as in `worker.policy_file.read_policy`.
        in_force: the policy that decides.
    """

    def __init__(self, file: Path, points: Points, in_force: PolicyVersion) -> None:
        self._file = file
        self._points = points
        self._in_force = in_force
        # What it held, one at most: before the first look not even nothing, since an empty file is a wrong one.
        self._seen: list[bytes | None] = []
        self._judged: list[bytes | None] = []
        self.refusing = False
        """Whether the file holds something that cannot be used."""

    def look(self) -> Policy | None:
        """What the file says, if that is news, and right.

        A file that is being written may be a policy at every step, and a wrong one: it has to be the same at two looks.

        Raises:
            PolicyError: it says something that cannot be used. Raised once; the policy in force stays.
        """
        content = self._read()
        before, self._seen = self._seen, [content]
        if self._seen != before or self._seen == self._judged:
            return None
        self._judged = self._seen
        # Until it is understood.
        self.refusing = True
        policy = self._understand(content)
        self.refusing = False
        if policy.version == self._in_force:
            return None
        self._in_force = policy.version
        return policy

    def _understand(self, content: bytes | None) -> Policy:
        if content is None:
            raise PolicyError([f"{self._file}: cannot be read, or is too large for a policy"])
        return read_policy(content, str(self._file), self._points)

    def _read(self) -> bytes | None:
        """What it holds; None where it cannot be read, or is too large to be a policy."""
        try:
            return read_bytes(self._file, MIB)
        except (OSError, StartupError):
            return None
