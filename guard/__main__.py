"""``python -m guard``: the command `guard`."""

import sys

from guard.cli import main

sys.exit(main())
