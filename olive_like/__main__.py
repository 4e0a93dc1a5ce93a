"""`python -m olive_like`."""

import sys

from olive_like.cli import main

if __name__ == "__main__":
    sys.exit(main())
