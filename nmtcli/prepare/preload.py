"""Modules and tables that the fork server loads once for all workers."""

from nmtcli.prepare import encoding
from nmtcli.prepare.cleaning.characters import script_names

script_names()  # builds the table of characters

__all__ = ["encoding"]
