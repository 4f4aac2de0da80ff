"""Imported once by the server that workers are forked from: they share what takes time to make."""

from nmtcli.prepare import work
from nmtcli.prepare.cleaning.characters import script_names

script_names()  # and with them the table of characters

__all__ = ["work"]
