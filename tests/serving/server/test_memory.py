"""Freed memory stays in the server's process."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

# Page faults of five rounds of three blocks of 8 MiB, after one that gets the memory.
PROGRAM = """
import resource
from serving.server import memory

if not memory.keep_freed():
    raise SystemExit("another C library")
for number in range(6):
    if number == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"x" * (8 << 20) for _ in range(3)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_is_not_fetched_again():
    run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    if "another C library" in run.stderr:
        pytest.skip("the C library cannot keep freed memory")
    assert int(run.stdout) < 100, run.stderr  # 30,720 pages of 4 KiB if each block were new
