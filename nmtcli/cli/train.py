"""`nmt train`."""


def train() -> None:
    """Not yet."""
