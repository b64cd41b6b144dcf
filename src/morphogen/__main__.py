"""`python -m morphogen` is `morphogen`."""

import sys

from morphogen.cli import main

if __name__ == "__main__":  # data-parallel processes import this file again, and must not search
    sys.exit(main())
