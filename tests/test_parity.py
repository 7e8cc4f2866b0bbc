"""The page of PyTorch's names says what is so."""

import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("parity", ROOT / "docs" / "parity.py")
parity = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parity)


def test_the_page_is_what_the_package_has():
    assert parity.PAGE.read_text() == parity.page(), "run: python docs/parity.py"


def test_no_name_is_set_apart_that_is_here():
    for namespace, (_, _, apart) in parity.counted().items():
        for names in apart.values():
            assert not [n for n in names if parity.here(namespace, n)]
