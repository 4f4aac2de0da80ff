"""`nmt score`."""


def score() -> None:
    """Not yet."""
