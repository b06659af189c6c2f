"""``python -m symnet`` is the ``symnet`` command."""

import os
import sys

# Python puts the current folder first on the path: a file sympy.py that lies there is not to be run in place of sympy.
if sys.path[:1] in ([""], [os.getcwd()]):
    sys.path.append(sys.path.pop(0))

from symnet.cli import main

if __name__ == "__main__":
    main()
