"""The API reference: every public name has a docstring with an example, and an entry on the page of its namespace."""

import importlib.util
import inspect
import pathlib
import re

import pytest
import test_doctests

import flambeau as fb

ROOT = pathlib.Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("api", ROOT / "docs" / "api.py")
api = importlib.util.module_from_spec(spec)
spec.loader.exec_module(api)

# Names without an example -> why.
WITHOUT_EXAMPLE: dict[str, str] = {}


@pytest.mark.parametrize("namespace", api.NAMESPACES)
def test_every_name_is_explained_by_an_example(namespace):
    names = dict(api.members(namespace))
    assert names
    silent = [n for n, thing in names.items() if not api.docstring(thing).strip()]
    dry = [n for n, thing in names.items() if ">>>" not in api.docstring(thing)]
    dry = [n for n in dry if f"{namespace}.{n}" not in WITHOUT_EXAMPLE]
    assert not silent, f"{namespace}: names without a docstring: {silent}"
    assert not dry, f"{namespace}: names whose docstring shows no example: {dry}"


def test_every_example_shown_is_run():
    """tests/test_doctests.py finds examples by module and by attribute; none that a page shows may slip through."""
    homes = {api.home(thing) for namespace in api.NAMESPACES for _, thing in api.members(namespace)} - {""}
    modules = [importlib.import_module(name) for name in homes]
    run = {inspect.cleandoc(t.docstring) for module in modules for t in test_doctests.examples(module)}
    for owner in (fb.Tensor, fb):
        run |= {doc for _, doc in test_doctests.documented(owner, set())}
    missed = [
        f"{namespace}.{name}"
        for namespace in api.NAMESPACES
        for name, thing in api.members(namespace)
        if ">>>" in api.docstring(thing) and api.docstring(thing) not in run
    ]
    assert not missed


def test_exceptions_are_exceptions():
    for name in WITHOUT_EXAMPLE:
        namespace, _, last = name.rpartition(".")
        assert ">>>" not in api.docstring(dict(api.members(namespace))[last]), f"{name} has an example now"


@pytest.mark.parametrize("namespace", api.NAMESPACES)
def test_every_name_has_its_entry(namespace):
    """Which names, not which words: those change with every docstring, and `make docs` writes them anew."""
    path = api.FOLDER / f"{namespace}.md"
    assert path.exists(), "run: make docs"
    shown = re.findall(r"^### (\S+)$", path.read_text(), re.M)
    assert shown == [name for name, _ in api.members(namespace)], "run: make docs"


@pytest.mark.parametrize("page", sorted(api.FOLDER.glob("*.md")), ids=lambda p: p.name)
def test_links_resolve(page):
    text = page.read_text()
    prose = re.sub(r"```\w*\n.*?```|`[^`\n]+`", "", text, flags=re.S)
    headings = set(api.anchors(re.findall(r"^### (\S+)$", text, re.M)))
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if link.startswith("#"):
            assert link in headings, f"{page.name}: no heading {link}"
        else:
            assert (page.parent / link).exists(), f"{page.name}: no file {link}"


def test_every_subpackage_has_a_page_or_a_reason():
    apart = {name for names in api.APART for name in names.removeprefix("flambeau.").split(", ")}
    paged = {n.split(".")[1] for n in api.NAMESPACES if "." in n}
    found = {n for n in dir(fb) if n[0] != "_" and inspect.ismodule(getattr(fb, n))}
    assert found <= paged | apart, "give it a page in docs/api.py, or a reason why it has none"
    assert apart <= found


def test_no_page_is_left_over():
    assert {p.name for p in api.FOLDER.glob("*.md")} == {"index.md", *(f"{n}.md" for n in api.NAMESPACES)}


def test_what_a_page_shows():
    """An entry by hand: heading, signature, text, arguments as a list, example as code."""

    def shrink(x: int, *, by: "float" = 2.0) -> float:
        """x / by, where a[i](x) is no link.

        Args:
            by: not 0.

        >>> shrink(3)
        1.5
        """
        return x / by

    lines = "\n".join(api.entry("shrink", shrink, None, False, set()))
    assert lines == (
        "### shrink\n\n`shrink(x: int, *, by: float = 2.0)`\n\nx / by, where a[i]\\(x) is no link.\n\n"
        "Args:\n\n- `by`: not 0.\n\n```python\n>>> shrink(3)\n1.5\n```\n"
    )
    assert "Another name of `shrink`." in api.entry("less", shrink, "shrink", False, set())
    assert api.anchors(["T", "t", "to"]) == ["#t", "#t-1", "#to"]
    assert inspect.getdoc(shrink) == api.docstring(shrink)
