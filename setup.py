"""The one part of the build that pyproject.toml can't say: the extension `flambeau.core._core`.

It is one Cython file, which includes the `.pxi` rooms beside it, plus every C file of `flambeau/runtime`. In a
checkout, `python setup.py build_ext --inplace` rebuilds what changed. Metadata and dependencies: pyproject.toml.
"""

import os
import sys
from glob import glob

from Cython.Distutils import build_ext
from setuptools import Extension, setup

core, runtime = "flambeau/core", "flambeau/runtime"
# Headers that the bootstrap unpacked into the virtual environment, where the system has none (see .ci/bootstrap.py).
headers = [path for path in glob(f"{sys.prefix}/headers/usr/include/python3.*") if os.path.exists(f"{path}/Python.h")]

extension = Extension(
    "flambeau.core._core",
    sources=[f"{core}/_core.pyx", *sorted(glob(f"{runtime}/*.c"))],
    depends=sorted([*glob(f"{core}/*.pxi"), *glob(f"{core}/*.pxd"), *glob(f"{core}/*.h"), *glob(f"{runtime}/*.h")]),
    include_dirs=[runtime, core, *headers, *(os.path.dirname(path) for path in headers)],
    # Results must not depend on the compiler's taste: no contraction, no reassociation.
    extra_compile_args=["-std=c11", "-O3", "-g0", "-fno-fast-math", "-ffp-contract=off", "-pthread"],
    extra_link_args=["-pthread"],
)

# This build_ext runs Cython when it builds; asking for the package's metadata stays quick.
setup(ext_modules=[extension], cmdclass={"build_ext": build_ext})
