from __future__ import annotations

# --- constants ---

A_ONE = 1  # one
# above two (two goes)
A_TWO = 2


def dropped():
    return A_TWO
    # trailing inside dropped
# at column 0, right below dropped


def f():
    # inside f
    return 1

    # trailing inside f, after a blank line


# about g

def g():
    return 2
# end of file