"""How a search shows itself on standard error: a live picture, plain lines or JSON lines.

`tally` keeps what the search tells, `snapshot` is what is known at one moment, `picture` draws it:
a pure function of the snapshot and the size of the terminal.
"""
