"""`python -m flambeau`: the command line, where the `flambeau` command isn't installed."""

import sys

from .cli.main import main

sys.exit(main())
