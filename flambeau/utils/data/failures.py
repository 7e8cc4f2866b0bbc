"""An exception on its way from a worker process to the program: its type and attributes, and the traceback's text.

Imports the standard library.
"""

from __future__ import annotations

import pickle
import traceback


class WorkerTraceback(Exception):
    """The traceback of an exception in a worker process, as that exception's cause."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Failure:
    """An exception taken apart for pickle; one that can't be pickled is restored as a RuntimeError that names it."""

    def __init__(self, error: BaseException) -> None:
        self.text = "".join(traceback.format_exception(error))
        self.summary = "".join(traceback.format_exception_only(error)).strip()
        try:
            self.pickled = pickle.dumps(error)
            pickle.loads(self.pickled)
        except Exception:
            self.pickled = b""

    def restore(self) -> BaseException:
        error = pickle.loads(self.pickled) if self.pickled else RuntimeError(f"DataLoader worker: {self.summary}")
        error.__cause__ = WorkerTraceback(self.text)
        return error
