"""`python -m flambeau`: the same as the `flambeau` command."""

from flambeau.cli.main import main

raise SystemExit(main())
