"""``python -m symnet`` is the ``symnet`` command."""

from symnet.cli import main

if __name__ == "__main__":
    main()
