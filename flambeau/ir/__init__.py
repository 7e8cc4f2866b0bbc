"""The intermediate representations: Expr, Kernel, Graph; each verified, interpretable and printable."""

import time

# Before any of these modules was read: a source that is younger may not be what runs (`codegen/cache.py` asks).
LOADED = time.time_ns()
