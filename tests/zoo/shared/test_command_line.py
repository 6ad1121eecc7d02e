"""What all commands share."""

import io
import os
import subprocess
import sys

import pytest

from zoo.shared import command_line


def test_a_label_that_the_output_cannot_hold_is_escaped(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n")
    monkeypatch.setattr(sys, "stdout", output)
    assert command_line.run(lambda argv: print("K\u00e4se")) == 0
    output.flush()
    assert output.buffer.getvalue() == b"K\\xe4se\n"


@pytest.mark.parametrize(
    "printing",  # written when the command ends, or before
    ["print('line')", "print('line\\n' * 20_000)", "c.ArgumentParser().parse_args(['--help'])"],
)
@pytest.mark.parametrize(("to", "status", "message"), [("| true", 0, ""), (">/dev/full", 2, "no space left while wri")])
def test_output_that_cannot_be_printed(printing, to, status, message):
    program = f"from zoo.shared import command_line as c; exit(c.run(lambda _: {printing}))"
    line = f'"{sys.executable}" -c "{program}" {to}; exit ${{PIPESTATUS[0]}}'
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(["bash", "-c", line], env=buffered, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == bool(message)
    assert message in done.stderr


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("DataLossError", "{{function_node a}} corrupted record at 7 [Op:A]", "damaged (corrupted record at 7): find"),
        ("ResourceExhaustedError", "a.tfrecord; No space left on device", "no space left while writing (a.tfrecord; "),
        ("ResourceExhaustedError", "out of memory", None),
    ],
)
def test_what_a_disk_does_to_tensorflow_is_one_line(kind, text, message, capsys):
    import tensorflow as tf

    def fail(_):
        raise getattr(tf.errors, kind)(None, None, text)

    if message is None:  # a fault of ours
        with pytest.raises(tf.errors.OpError):
            command_line.run(fail)
        return
    assert command_line.run(fail) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize("before", ["--out=", "model.weights=", ""])
def test_the_home_folder_after_an_equals_sign(before, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    parser = command_line.ArgumentParser()
    parser.add_argument("--out")
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args([f"{before}~/my data", "key=~", "a~/b"])
    assert (arguments.out or arguments.words[0].partition("=")[2] or arguments.words[0]) == "/home/ann/my data"
    assert arguments.words[-2:] == ["key=~", "a~/b"]
