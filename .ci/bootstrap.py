"""Makes the virtual environment for the Makefile: `python3 .ci/bootstrap.py VENV EXTRA...`

Runs on the standard library alone, as a plain user, and installs nothing outside VENV. A fresh Debian may have python3
without its `venv` and `dev` packages; then pip comes straight from PyPI (checked against its SHA-256) and Python.h
from the distribution's own package, unpacked inside VENV, where setup.py finds it.
"""

import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
import venv
from urllib.parse import urljoin

PIP = "https://pypi.org/pypi/pip/json"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def fail(message: str) -> None:
    sys.exit(f"bootstrap: {message}")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as reply:
        return reply.read()


def pip_from_pypi(python: str) -> None:
    try:
        release = next(
            f for f in json.loads(fetch("https://pypi.org/pypi/pip/json"))["urls"] if f["filename"].endswith(".whl")
        )
        wheel = fetch(urljoin(PIP, release["url"]))
    except OSError as error:
        fail(f"this python3 has no ensurepip and PyPI can't be reached ({error}); apt-get install python3-venv")
    if hashlib.sha256(wheel).hexdigest() != release["digests"]["sha256"]:
        fail("pip's wheel from PyPI doesn't have the SHA-256 that PyPI names; try again")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, release["filename"])
        with open(path, "wb") as file:
            file.write(wheel)
        subprocess.run([python, f"{path}/pip", "install", "--quiet", path], check=True)


def make_environment(target: str, python: str) -> None:
    try:
        venv.create(target, with_pip=True, symlinks=True)
    except (subprocess.CalledProcessError, ImportError):
        shutil.rmtree(target, ignore_errors=True)
        venv.create(target, with_pip=False, symlinks=True)
        pip_from_pypi(python)


def find_headers(target: str) -> None:
    if os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    unpacked = os.path.join(target, "headers")
    if not glob.glob(f"{unpacked}/usr/include/python{version}/Python.h"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                subprocess.run(["apt-get", "download", f"libpython{version}-dev"], cwd=folder, check=True)
                subprocess.run(["dpkg", "-x", *glob.glob(f"{folder}/*.deb"), unpacked], check=True)
            except (OSError, subprocess.CalledProcessError):
                fail(f"Python.h is missing; apt-get install python{version}-dev")


def main(target: str, *extras: str) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (this is where an older one is told)
        fail(f"needs Python 3.11 or later, got {sys.version.split()[0]}; make PYTHON=python3.12 …")
    python = os.path.join(target, "bin", "python")
    works = os.path.exists(python) and subprocess.run([python, "-m", "pip", "--version"], capture_output=True)
    if not works or works.returncode:
        print("making the virtual environment", target, flush=True)
        make_environment(target, python)
    find_headers(target)
    import tomllib  # only once the version is known to have it

    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        settings = tomllib.load(file)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *settings["build-system"]["requires"]], check=True)
    print("building the package and installing", ", ".join(("what it needs", *extras)), flush=True)
    build = subprocess.Popen([python, "setup.py", "-q", "build_ext", "--inplace"], cwd=ROOT)
    try:
        subprocess.run([*install, *requirements(settings["project"], extras)], check=True)
    finally:
        failed = build.wait()
    if failed:
        fail("the extension didn't build; its compiler's messages stand above")
    # The compat mode puts the checkout on sys.path by a .pth file; the default mode's import hook costs start-up time.
    editable = ["--no-build-isolation", "--no-deps", "--config-settings", "editable_mode=compat", "-e", ROOT]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}  # setuptools warns about the mode at length
    subprocess.run([*install, *editable], check=True, env=quiet)
    for name in ("base", *extras):  # what the Makefile looks at
        with open(os.path.join(target, f".{name}"), "w"):
            pass


def requirements(project: dict, extras: tuple[str, ...]) -> list[str]:
    """The project's dependencies and those of its extras; an extra may name another as flambeau[other]."""
    found = list(project["dependencies"])
    for extra in extras:
        for name in project["optional-dependencies"][extra]:
            inner = name.removeprefix("flambeau[").removesuffix("]")
            found += project["optional-dependencies"][inner] if inner != name else [name]
    return found


if __name__ == "__main__":
    if len(sys.argv) < 2:
        fail("usage: bootstrap.py VENV [EXTRA...]")
    main(*sys.argv[1:])
