"""The C runtime by itself: compiles flambeau/runtime and tests/runtime/*.c with cc, then runs each C test in a process
of its own: plain, under the address and undefined-behaviour sanitizers, and under the thread sanitizer. What a C test
can't arrange is done here: environment variables, affinity, and trees of cgroup files."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUNTIME = ROOT / "flambeau" / "runtime"
HERE = Path(__file__).parent / "runtime"
FILES = [RUNTIME / f"{name}.c" for name in ("pool", "steps", "alloc", "heap", "system", "code", "philox", "each")]
TESTS = [name for path in sorted(HERE.glob("*.c")) for name in re.findall(r"^TEST\((\w+)\)", path.read_text(), re.M)]
PAST = {  # test: what it does
    "write_past_a_small_block": "byte 3 after a block of 100 bytes",
    "write_past_a_block_that_fills_its_class": "byte 0 after a block of 128 bytes",
    "write_past_the_largest_small_block": "byte 63 after a block of 65536 bytes",
    "write_past_a_large_block": "byte 63 after a block of 10485760 bytes",
}
CHECKED_HERE = {"print_num_threads", "print_limits", "checked_blocks_used_within_bounds", *PAST}

FLAGS = {
    "plain": ["-O2", "-Wall", "-Wextra", "-Werror"],
    "address": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-O1", "-g", "-fsanitize=thread"],
}
# What the sanitizers themselves can't follow into a forked child; the plain build runs it.
NOT_UNDER = {
    ("thread", "fork_at_any_time"): "the thread sanitizer can't start threads in a forked child",
    ("thread", "steps_after_a_fork"): "the thread sanitizer can't start threads in a forked child",
    # Seen: the child's pthread_create waits for ever on a lock of the sanitizer's that a thread held at the fork.
    ("address", "fork_at_any_time"): "the address sanitizer's own allocator doesn't survive a fork beside busy threads",
}
HANG = 600  # seconds after which a deadlock is called one

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc)")


def compile_tests(target: Path, flags: list[str]) -> subprocess.CompletedProcess[str]:
    wrapped = [f"-Wl,--wrap={name}" for name in ("mmap", "munmap", "pthread_create", "fb_system_available")]
    command = ["cc", "-std=c11", "-pthread", f"-I{RUNTIME}", *flags, *sorted(HERE.glob("*.c")), *FILES, *wrapped]
    return subprocess.run([*command, "-o", target], capture_output=True, text=True)


@pytest.fixture(scope="session")
def binary(tmp_path_factory):
    """Name of a variant -> its executable, compiled at the first use; skips where the machine lacks a sanitizer."""
    built: dict[str, Path] = {}

    def get(variant: str) -> Path:
        if variant not in built:
            folder = tmp_path_factory.mktemp(variant)
            result = compile_tests(folder / "runtime_tests", FLAGS[variant])
            if result.returncode != 0 and variant != "plain" and re.search(r"cannot find.*[atu]b?san", result.stderr):
                pytest.skip(f"cc has no {variant} sanitizer here")
            assert result.returncode == 0, result.stderr
            built[variant] = folder / "runtime_tests"
        return built[variant]

    return get


def run(binary: Path, test: str, cwd: Path | None = None, **environment: str) -> str:
    environment = {**os.environ, "FLAMBEAU_CHECK_MEMORY": "", **environment}
    result = subprocess.run([binary, test], capture_output=True, text=True, timeout=HANG, env=environment, cwd=cwd)
    assert result.returncode == 0, f"{test}: status {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.mark.parametrize("test", [name for name in TESTS if name not in CHECKED_HERE])
@pytest.mark.parametrize("variant", FLAGS)
def test_c(binary, variant, test):
    if (variant, test) in NOT_UNDER:
        pytest.skip(NOT_UNDER[variant, test])
    run(binary(variant), test)


@pytest.mark.parametrize("test", PAST)
def test_a_write_past_a_block_stops_the_program_where_memory_is_checked(binary, test):
    environment = {**os.environ, "FLAMBEAU_CHECK_MEMORY": "1"}
    command = [binary("plain"), test]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG, env=environment)
    assert result.returncode == -signal.SIGABRT
    assert result.stderr == f"flambeau: {PAST[test]} has been written\n"


@pytest.mark.parametrize("variant", ["plain", "address"])
def test_checked_blocks_used_within_bounds(binary, variant):
    run(binary(variant), "checked_blocks_used_within_bounds", FLAMBEAU_CHECK_MEMORY="1")


def test_there_are_c_tests():
    assert len(TESTS) > 20
    assert len(set(TESTS)) == len(TESTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("3", 3),
        ("1024", 1024),
        ("0", None),
        ("-2", None),
        ("1025", None),
        ("two", None),
        ("2x", None),
        ("", None),
    ],
)
def test_num_threads_from_the_environment(binary, text, expected):
    """A number in 1..1024 counts; anything else is as if it weren't set."""
    usual = int(run(binary("plain"), "print_limits").split()[0])
    assert int(run(binary("plain"), "print_num_threads", FLAMBEAU_NUM_THREADS=text)) == (expected or usual)


def test_num_threads_from_affinity(binary):
    one = str(min(os.sched_getaffinity(0)))
    if shutil.which("taskset") is None:
        pytest.skip("needs taskset")
    command = ["taskset", "-c", one, binary("plain"), "print_num_threads"]
    environment = {name: value for name, value in os.environ.items() if name != "FLAMBEAU_NUM_THREADS"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG, env=environment)
    assert result.stdout.strip() == "1"


CGROUPS = {
    # name: (lines of /proc/self/cgroup, files below /sys/fs/cgroup, processors, bytes); None = no limit
    "version 2": (["0::/"], {"cpu.max": "100000 100000", "memory.max": "1000000000"}, 1, 1_000_000_000),
    "rounded up": (["0::/"], {"cpu.max": "50000 100000"}, 1, None),
    "none set": (["0::/"], {"cpu.max": "max 100000", "memory.max": "max"}, None, None),
    "parent's": (
        ["0::/user/job"],
        {"user/job/cpu.max": "max 100000", "user/cpu.max": "100000 100000", "user/job/memory.max": "7000000"},
        1,
        7_000_000,
    ),
    "path unseen in the container": (
        ["0::/far/away"],
        {"cpu.max": "20000 100000", "memory.max": "5000000"},
        1,
        5_000_000,
    ),
    "version 1": (
        ["4:memory:/a", "2:cpu,cpuacct:/a", "0::/"],
        {
            "cpu,cpuacct/a/cpu.cfs_quota_us": "90000",
            "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
            "memory/a/memory.limit_in_bytes": "3000000",
        },
        1,
        3_000_000,
    ),
    "version 1 without a quota": (
        ["2:cpu:/"],
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        None,
        None,
    ),
    "both versions": (["2:cpuset:/", "0::/x"], {"unified/x/cpu.max": "10000 100000"}, 1, None),
    "nonsense": (["", "::", "0:", "what"], {"cpu.max": "x y"}, None, None),
    "no file": ([], {}, None, None),
}


@pytest.fixture(scope="session")
def with_own_cgroups(tmp_path_factory):
    """An executable that reads the working directory's `self` and `root` for /proc/self/cgroup and /sys/fs/cgroup."""
    executable = tmp_path_factory.mktemp("cgroups") / "runtime_tests"
    result = compile_tests(executable, ['-DFB_CGROUP_SELF="self"', '-DFB_CGROUP_ROOT="root"'])
    assert result.returncode == 0, result.stderr
    return executable


@pytest.mark.parametrize("name", CGROUPS)
def test_cgroup_limits(with_own_cgroups, tmp_path, name):
    lines, files, cpus, memory = CGROUPS[name]
    (tmp_path / "self").write_text("".join(f"{line}\n" for line in lines))
    for path, text in files.items():
        (tmp_path / "root" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / path).write_text(text + "\n")
    got = run(with_own_cgroups, "print_limits", cwd=tmp_path).split()
    if cpus is None:
        cpus = len(os.sched_getaffinity(0))
    if memory is None:
        fields = dict(re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text()))
        memory = (int(fields["MemTotal"]) + int(fields["SwapTotal"])) * 1024
    assert [int(number) for number in got] == [cpus, memory]


def test_without_sanitizers_nothing_is_exported_but_the_interface(tmp_path):
    """Helpers shared between files are hidden, so a program that embeds the runtime sees `runtime.h` alone."""
    library = tmp_path / "libruntime.so"
    command = ["cc", "-std=c11", "-shared", "-fPIC", "-pthread", f"-I{RUNTIME}", *FILES, "-o", library]
    subprocess.run(command, check=True)
    if shutil.which("nm") is None:
        pytest.skip("needs nm")
    listing = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True)
    exported = set(re.findall(r" T (\w+)", listing.stdout))
    declared = set(re.findall(r"\b(fb_\w+)\(", (RUNTIME / "runtime.h").read_text()))
    assert exported == declared - {"fb_kernel"}
