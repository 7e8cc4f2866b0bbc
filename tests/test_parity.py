"""The pages of PyTorch's names say what is so."""

import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("parity", ROOT / "docs" / "parity.py")
parity = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parity)


def test_the_page_is_what_the_package_has():
    assert parity.PAGE.read_text() == parity.page(), "run: python docs/parity.py"


def test_differences_list_every_name_that_is_not_here():
    text = parity.DIFFERENCES.read_text()
    assert text == parity.with_names(text), "run: python docs/parity.py"
    listed = text.split(parity.START)[1]
    for namespace, names in parity.NAMES["namespaces"].items():
        for name in names:
            assert parity.here(namespace, name) or f"`{name}`" in listed


def test_nearly_all_names_are_here():
    for namespace, (present, missing, _) in parity.counted().items():
        if namespace in ("", "Tensor", "linalg", "fft", "special", "nn.functional"):
            assert len(present) >= 0.95 * (len(present) + len(missing)), (namespace, missing)


def test_every_reason_is_needed():
    used = {why for _, _, apart in parity.counted().values() for why in apart}
    assert used == set(parity.APART)
