"""`nmt export`."""


def export() -> None:
    """Not yet."""
