"""The `flambeau` command. Read next: `main.py` (its parts), `run.py`, `env.py`."""
