# Head comment of the entry.

"""Doc."""  # beside the docstring

from __future__ import annotations

# above the imports
from toy.a import A_ONE, f, g  # beside the import

# detached comment


# directly above main
def main() -> int:  # beside def
    print(A_ONE, f(), g())
    return 0
    # last comment in main, indented

# comment after the end
# and another