"""Completion, as a shell asks for it."""

import shutil
import subprocess

import pytest

from adl import commands

CASES = {
    "adl tr": "train",
    "adl train --rec": "--recipe",
    "adl train --recipe pi3d_nucla_": "pi3d_nucla_from_ntu60",
    "adl convert nuc": "nucla",
    "adl convert nucla --dry": "--dry-run",
    "adl convert nucla --poses e": "estimate",
    "adl export --compute = b": "bfloat16",  # a word of its own to bash
    "adl train --data ": "",  # bash itself lists the folders
    "adl models vp": "vpn",
    "adl completion ": "bash zsh -h --help",
    "adl nothing ": "",
}
_ASK = """
while IFS= read -r line; do
  COMP_WORDS=($line)
  case "$line" in *' ') COMP_WORDS+=("") ;; esac
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  COMPREPLY=()
  _adl
  echo "${COMPREPLY[*]}"
done
"""


def test_completion_in_bash(run_command):
    status, script, err = run_command(commands.main, "completion", "bash")
    assert (status, err) == (0, "")
    done = subprocess.run(
        ["bash", "-c", script + _ASK], input="\n".join(CASES) + "\n", capture_output=True, text=True, check=True
    )
    assert not done.stderr
    assert dict(zip(CASES, done.stdout.splitlines())) == CASES


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_reads_its_script(run_command):
    script = run_command(commands.main, "completion", "zsh")[1]
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
