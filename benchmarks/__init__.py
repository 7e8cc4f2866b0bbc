"""Benchmarks: flambeau beside PyTorch in one run, or alone with `--quick`.

`python -m benchmarks --against /path/to/python` needs an interpreter that has torch; each side runs in a process of its
own and the two take turns. Every case is written once, against a module `fb` that is flambeau or torch.
Read next: `case.py` (what a case is), `overhead.py` (the plainest family), `worker.py`, `__main__.py`.
"""
