"""JoeyNMT's own command, with a least length: 2.3.0 reads `min_output_length`, but its search never gets it.

Run by compare.py in the peer's environment: LENGTH, then the command's arguments.
"""

import sys
from functools import partial

import joeynmt.prediction
from joeynmt.__main__ import main

length = int(sys.argv.pop(1))
joeynmt.prediction.search = partial(joeynmt.prediction.search, min_output_length=length)
main()
