"""How a target says that something is not as promised."""


class Broken(AssertionError):  # noqa: N818  it says what is the matter
    """A promise that does not hold. The message names it, and holds no input: that is in a file of its own."""


def promise(held: bool, what: str) -> None:
    """Raises Broken where it does not."""
    if not held:
        raise Broken(what)
