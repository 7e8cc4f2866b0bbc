"""Programs as Graphs: traced from Python, and run again. Not called `compile`, which is the public function's name.

Imports eager and what stands below it. Read next: `trace.py`, `replay.py`.
"""
