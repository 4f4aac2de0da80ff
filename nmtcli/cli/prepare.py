"""`nmt prepare`."""


def prepare() -> None:
    """Not yet."""
