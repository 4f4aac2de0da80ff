"""`nmt translate`."""


def translate() -> None:
    """Not yet."""
