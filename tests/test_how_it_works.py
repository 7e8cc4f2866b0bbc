"""The chapters of docs/how-it-works run as they are printed, each continuing the one before."""

import doctest
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs" / "how-it-works"
CHAPTERS = sorted(FOLDER.glob("[0-9]-*.md"))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run(text: str, names: dict) -> list[str]:
    """Runs a page's code in `names`; returns what its examples print otherwise than they say."""
    wrong: list[str] = []
    for block in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M):
        if block.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(block, {}, "page", None, None)
            test.globs = names
            doctest.DocTestRunner(verbose=False, optionflags=FLAGS).run(test, out=wrong.append, clear_globs=False)
        else:
            exec(compile(block, "page", "exec"), names)
    return wrong


@pytest.fixture(scope="module")
def wrong() -> dict[str, list[str]]:
    """Chapter -> what is wrong with it; one after the other, as a reader pastes them."""
    names: dict = {"__name__": "page"}
    return {chapter.stem: run(chapter.read_text(), names) for chapter in CHAPTERS}


@pytest.mark.parametrize("chapter", [c.stem for c in CHAPTERS])
def test_chapter(chapter, wrong):
    assert not wrong[chapter], "".join(wrong[chapter])


def test_there_are_five_and_they_are_short():
    assert [c.stem[0] for c in CHAPTERS] == list("12345")
    for chapter in CHAPTERS:
        assert len(chapter.read_text().splitlines()) <= 220, f"{chapter.name} is no longer read in one sitting"


def test_a_wrong_page_is_noticed():
    assert run("```python\nx = 1\n```\n```python\n>>> x + 1\n3\n```\n", {})
    assert not run("```python\nx = 1\n```\n```python\n>>> x + 1\n2\n```\n", {})
