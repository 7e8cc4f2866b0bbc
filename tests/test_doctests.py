"""Every public docstring's example runs and shows what it says."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import flambeau as fb

MODULES = sorted(m.name for m in pkgutil.walk_packages(fb.__path__, "flambeau.") if not m.name.endswith("__main__"))
FINDER, FLAGS = doctest.DocTestFinder(exclude_empty=True), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples(module) -> list[doctest.DocTest]:
    """The doctests of a module, those of ops and of what the extension defines among them."""
    found = FINDER.find(module, extraglobs={"fb": fb})
    for name, thing in vars(module).items():
        if name.startswith("_") or inspect.ismodule(thing) or inspect.isclass(thing) or inspect.isfunction(thing):
            continue
        doc = getattr(thing, "__doc__", None)
        if isinstance(doc, str) and ">>>" in doc and getattr(thing, "__module__", module.__name__) == module.__name__:
            found.append(doctest.DocTestParser().get_doctest(doc, {"fb": fb}, f"{module.__name__}.{name}", None, None))
    return [t for t in found if t.examples]


def run(tests: list[doctest.DocTest]) -> list[str]:
    failures: list[str] = []
    for test in tests:
        test.globs.setdefault("fb", fb)
        runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
        report: list[str] = []
        runner.run(test, out=report.append)
        if runner.failures:
            failures.append("".join(report))
    return failures


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("name", MODULES)
def test_module(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"needs what isn't installed: {error}")
    failures = run(examples(module))
    assert not failures, "\n".join(failures)


def documented(thing, seen: set[str]):
    """(name, docstring) of what an extension type or an op offers, once each."""
    for name in dir(thing):
        getattr(thing, name, None)  # loads what loads late
        member = inspect.getattr_static(thing, name)
        doc = getattr(member, "__doc__", None)
        if not name.startswith("_") and isinstance(doc, str) and ">>>" in doc and doc not in seen:
            seen.add(doc)
            yield name, inspect.cleandoc(doc)


def test_methods_and_ops():
    seen: set[str] = set()
    tests = []
    for owner in (fb.Tensor, fb):
        for name, doc in documented(owner, seen):
            tests.append(doctest.DocTestParser().get_doctest(doc, {"fb": fb}, f"{owner.__name__}.{name}", None, None))
    assert len(tests) > 750
    failures = run(tests)
    assert not failures, "\n".join(failures)


def test_a_wrong_example_is_noticed():
    test = doctest.DocTestParser().get_doctest(">>> fb.ones(1)\ntensor([2.])\n", {"fb": fb}, "wrong", None, None)
    assert len(run([test])) == 1
