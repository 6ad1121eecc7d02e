"""Runs the commands of a page at small size, from the page's own text: ``python -m tests.documented_runs FOLDER PAGE``.

It prints a line of JSON for each command. They share a process because TensorFlow takes longer to start than such a
command takes. What a page assumes (a dataset, a trained run, an exported model, a server) is made when a command first
names it, of generated data in the form of the original downloads.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import traceback

import cv2
import numpy as np

from tests import documented
from tests.documented import Command
from tests.recipes import raw_datasets, run_recipes
from tests.tfrecords import recording_files
from tests.tfrecords.estimation import walking_estimator
from tfrecords import protocols
from tfrecords.converting import workers
from tfrecords.estimation import estimator
from zoo.shared import command_line
from zoo.shared.errors import UserError

# Why a command is parsed alone, not run: what is found in "page:line: command" -> reason.
NOT_RUN = {
    r": (aws|docker|kubectl|make|pip|python3|source) ": "sets up an environment, or is elsewhere; CI runs the Makefile",
    r"HOST": "of other machines",
    r"^docs/models/": "the seeds of the model cards; docs/figures.md and docs/training.md run the same commands",
    r"benchmarks[./]|ablation/data|runs/(mapped|changed)|^docs/performance": "measures for minutes or hours",
    r"^docs/index|kinetics400|models/i3d --video my": "fetches 50 MB, or needs them: make demo VIDEO=FILE",
    r"^docs/runtimes": "needs an extra; tests/serving/runtimes runs them where it is installed",
    r"--runner|s3://": "needs a cluster or an object store; tests/tfrecords has stand-ins",
    r"^docs/installing.md.* convert": "shows the error of an installation that lacks an extra",
    r"(recipe |runs/)\w+_ntu60|from_ntu60|separable_sta_jhmdb": "tests/recipes/test_run_recipes.py trains every recipe",
    r"^docs/(ablation|temporal|two_level)": "tests/recipes/test_run_recipes.py trains every recipe",
    r"--radar|--tsne": "needs more clips; tests/recipes/reports has some",
    r"--pose-noise|--stages": "scores a split up to 13 times; tests/recipes/reports does so",
    r"stages.joint.init": "tests/recipes/trainers starts from other runs",
    r"docs/serving.md.*(i3d|serving.verify|--record|serving.config|--batch_sizes)": "tests/serving has networks for it",
    r"runs/falls_": "ten trainings and evaluations; tests/recipes trains the recipe, and has sequences of its own",
    r"--callback mlflow": "needs an extra; tests/recipes/trainers runs it where it is installed",
    r"--share-computation": "needs a larger network; tests/serving and tests/recipes have one",
    r"models/falls|--camera pairs|--events mqtt": "needs receivers of events; tests/serving/live has them",
}
# Page -> why its snippets of Python are only resolved. Those of other pages run.
SNIPPETS_NOT_RUN = {
    "docs/data.md": "needs Smarthome",
    "docs/datasets/folder.md": "of a file of another tool",
    "docs/live.md": "needs a camera",
    "docs/poses_from_video.md": "needs a network of poses",
    "docs/python.md": "needs a trained run",
    "docs/pretrained.md": "needs weights that are fetched",
    "docs/runtimes.md": "needs an extra",
    "docs/serving.md": "tests/serving has a server",
    "docs/training.md": "shows parts of a program",
    "docs/two_level_fusion.md": "shows parts of a program",
}
# What makes a command small: its words up to the first option begin with these -> arguments that are added.
SMALLER = {
    "tfrecords.convert synthetic": ["--subjects=5", "--repetitions=1", "--frames=15", "--size=32"],
    "serving.client": ["--top=2"],
    "serving.live": ["--seconds=3"],
}
# What stands for what a page calls so: a word, or the beginning of a path.
STANDS_FOR = {
    "BASE": "models",
    "DATA": "data/synthetic",
    "JHMDB/videos": "raw/jhmdb",
    "RUN": "runs/separable_sta_synthetic",
    "VIDEOS": "raw/urfd",
    "VIDEOS/fall-13-cam0.mp4": "raw/urfd/fall-01-cam0.mp4",
    "clips.csv": "raw/folder/clips.csv",
    "lists": "raw/folder",
    "videos": "raw/folder",
}
RECIPE_OF = {
    "kitchen": "pose_lstm_nucla",
    **dict.fromkeys(("pose_gcn_joint", "pose_gcn_bone", "pose_gcn_motion"), "pose_gcn_nucla"),
}


def not_run(command: Command) -> str:
    """Why a command is not run; an empty text: it is."""
    return next((reason for form, reason in NOT_RUN.items() if re.search(form, str(command))), "")


_results = os.fdopen(os.dup(sys.stdout.fileno()), "w")


class Standing(walking_estimator.Walking):
    """Stands for the estimator of the pages, with its layout."""

    layout = "blazepose_33"


class Folder:
    """The current folder as one in which a page's commands are run."""

    def __init__(self) -> None:
        self.ports = {documented: _free_port() for documented in ("8500", "8501")}
        self.server: subprocess.Popen | None = None
        self.served = ""
        frames = recording_files.frames_of(recording_files.walk("blazepose_33", frames=160))
        for name in ("clip", "morning", "my", "new", "S001C001P001R001A001_rgb"):
            suffix = ".avi" if name.endswith("_rgb") else ".mp4"
            recording_files.write_video(pathlib.Path(name + suffix), frames)
        os.mkdir("home")
        os.mkdir("incoming")
        for number, frame in enumerate(frames):
            cv2.imwrite(f"incoming/{number:04d}.jpg", np.ascontiguousarray(frame[..., ::-1]))
        np.save("clip.npy", recording_files.walk("kinect_v2_25"))

    def run(self, command: Command) -> str:
        """Runs a command of a page; returns what it printed, raises if it fails."""
        words = [self._meant(word, before, command) for before, word in zip(("", *command.words), command.words)]
        words = [file for word in words for file in self._found(word)]
        self._make_ready(words)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            self._run(words)
        if command.output:
            path = pathlib.Path(command.output.replace("~", "home"))
            with open(path, "w", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
                file.write(printed.getvalue())
        return printed.getvalue()

    def begin(self, commands: list[Command]) -> None:
        """Before a block that converts what an earlier one has converted: it begins anew."""
        made = [word for c in commands for before, word in zip(c.words, c.words[1:]) if before == "--out"]
        if any(os.path.exists(path) for path in made if path.startswith("data/")):
            self.stop_server()
            for folder in ("data", "runs", "models"):
                shutil.rmtree(folder, ignore_errors=True)

    def with_ports(self, text: str) -> str:
        """A text of the page with free ports for those that it names."""
        for port, ours in self.ports.items():
            text = re.sub(rf"\b{port}\b", str(ours), text)
        return text

    def stop_server(self) -> None:
        """Stops the server of the page, if one runs."""
        if self.server:
            self.server.terminate()
            self.server.wait(timeout=60)
        self.server, self.served = None, ""

    def _meant(self, word: str, before: str, command: Command) -> str:
        """The argument that an argument of the page stands for."""
        word = self.with_ports(word.replace("~", "home"))
        if before == "--source":
            return (
                f"raw/{next(name for verb, name in zip(command.words, command.words[1:]) if verb.endswith('convert'))}"
            )
        if before == "--camera":
            return "morning.mp4"
        by_option = {"--video FILE": "clip.mp4", "--pose FILE": "clip.npy", "--port 8600": "0", "--host 0.0.0.0": "::1"}
        if f"{before} {word}" in by_option:
            return by_option[f"{before} {word}"]
        if word == "OUT":  # each line shows another way
            return f"out/{command.line}"
        first, slash, rest = word.partition("/")
        return STANDS_FOR.get(word) or STANDS_FOR.get(first, first) + slash + rest

    @staticmethod
    def _found(word: str) -> list[str]:
        """The files that a pattern stands for, as a shell finds them."""
        return sorted(map(str, pathlib.Path().glob(word))) if "*" in word else [word]

    def _make_ready(self, words: list[str]) -> None:
        """Makes what a command needs, but no earlier command has made."""
        for before, word in zip(words, words[1:]):
            if word.startswith("raw/"):
                _write_raw(word.split("/")[1])
            elif before == "--layout" and "folder" in words:
                raw_datasets.write_poses(pathlib.Path("raw/folder"), word)
            elif before in ("--out", "--output", "--to"):
                continue
            elif word.startswith("runs/"):
                _train(word, evaluate=words[1].endswith("model_card.py") or before in ("--compare", "--radar"))
            elif word.startswith("data/"):
                _convert(word)
            elif before in ("--model", "--model_base_path") and word.startswith("models/"):
                _export(word.split("/")[1])
        if "--server" in words:
            self._serve(_after(words, "--model"))

    def _serve(self, model: str) -> None:
        if self.served != model:
            _export(model)
            self._start(["--model_base_path", f"models/{model}", "--model_name", model, "--port", self.ports["8500"]])

    def _start(self, arguments: list) -> None:
        """Starts a server, and waits until it serves."""
        self.stop_server()
        line = [sys.executable, "-m", "serving.server", *map(str, arguments)]
        self.server = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        self.served = _after(arguments, "--model_name")
        assert self.server.stdout.readline().startswith("Serving")

    def _run(self, words: list[str]) -> None:
        program, *arguments = words
        if program == "adl":
            _call("adl.commands", arguments)
        elif program != "python":
            words += ["--fail"] if program == "curl" else []
            print(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout, end="")
        elif arguments[0] == "-c":
            exec(arguments[1], {})
        elif arguments[:2] == ["-m", "serving.server"]:
            port = [] if "--port" in arguments else ["--port", self.ports["8500"]]
            self._start([*arguments[2:], *port])
        else:
            module, *rest = arguments[1:] if arguments[0] == "-m" else arguments
            _call(module.removesuffix(".py").replace("/", "."), rest)


def _call(module: str, arguments: list[str]) -> None:
    """Calls the function ``main`` of ``python -m module``, with the arguments that make it small."""
    name = " ".join([module, *arguments[:1]])
    arguments = [*arguments, *(more for start, added in SMALLER.items() if name.startswith(start) for more in added)]
    if module.endswith("convert") or arguments[:1] == ["convert"]:
        arguments += ["--workers=1"]
    if module.endswith("train") or arguments[:1] == ["train"]:
        arguments += _small(arguments)
    import tensorflow as tf

    main = next(found for found in map(_main, (module, f"{module}.command", f"{module}.__main__")) if found)
    trains = module.startswith("recipes.") or arguments[:1] in (["train"], ["evaluate"])
    tf.config.run_functions_eagerly(trains)  # of one step each: tracing its graph would take longer
    try:
        status = command_line.run(main, arguments)
    except SystemExit as leaving:
        status = leaving.code
    finally:
        tf.config.run_functions_eagerly(False)
        tf.keras.mixed_precision.set_global_policy("float32")
        tf.keras.backend.clear_session()
    if status:
        raise UserError(f"exit status {status}: {' '.join([module, *arguments])}")


def _main(module: str):
    try:
        return getattr(importlib.import_module(module), "main", None)
    except ModuleNotFoundError:
        return None


def _small(arguments: list[str]) -> list[str]:
    """What makes a training small, and its data if nothing has made it."""
    from recipes import config

    if "--recipe" not in arguments:
        return []
    overrides = arguments[arguments.index("--set") + 1 :] if "--set" in arguments else []
    chosen = [text for text in overrides if re.match(r"data\.\w+=", text)]
    recipe = config.load(_after(arguments, "--recipe"), chosen)
    data = pathlib.Path(_after(arguments, "--data") or f"data/{recipe.data.dataset}")
    _convert(str(data))
    return ["--set", *run_recipes.overrides(recipe, data, _folds(recipe))]


def _after(words, option: str) -> str:
    """The word after another; an empty text if it is not there."""
    return next((after for word, after in zip(words, words[1:]) if word == option), "")


def _write_raw(dataset: str) -> list[str]:
    """Files in the form of a dataset's download in ``raw``; returns the arguments that convert them all."""
    from recipes import config

    folder = pathlib.Path("raw", dataset)
    recipe = next(name for name in config.names() if config.load(name).data.dataset == dataset)
    kept = folder.with_suffix(".json")
    if not kept.exists():
        line = raw_datasets.command(dataset, folder, *_folds(config.load(recipe)))
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps([str(word) for word in line]))
    return json.loads(kept.read_text())


def _folds(recipe) -> list[str]:
    """The protocols that a page trains a recipe under: all of five folds, or its own."""
    protocol = recipe.data.protocol
    return [name for name in protocols.folds(recipe.data.dataset, protocol) if name.startswith("fold")] or [protocol]


def _convert(path: str) -> None:
    """The converted dataset, unless there is one."""
    if not os.path.exists(path):
        _call("tfrecords.convert", [*_write_raw(pathlib.Path(path).name), "--out", path])


def _train(path: str, evaluate: bool) -> None:
    """The trained run, unless there is one."""
    name = re.sub(r"_seed\d+$", "", pathlib.Path(path).name)
    if not os.path.exists(path):
        _call("recipes.train", ["--recipe", RECIPE_OF.get(name, name), "--output", path])
    if evaluate and not os.path.exists(f"{path}/evaluation"):
        _call("recipes.evaluate", ["--run", path])


def _export(model: str) -> None:
    """The exported model, unless there is one."""
    if os.path.exists(f"models/{model}"):
        return
    if model == "pose_gcn":
        _call("serving.export", ["--pretrained", "pose_gcn_nucla", "--to", "models"])
    else:
        _train(f"runs/{model}_synthetic", evaluate=False)
        _call("serving.export", ["--run", f"runs/{model}_synthetic", "--to", "models"])


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _in_this_process(work, todo, count, bar, lock, kept=""):
    """As :func:`tfrecords.converting.workers.each`: other processes would not know the estimator."""
    return {task: work(task, lambda: bar.update(1)) for task in todo}


def run_page(path: pathlib.Path) -> None:
    """Runs what can run of a page in the current folder; prints a line of JSON for each command and snippet."""
    folder, names = Folder(), {}
    try:
        for block in documented.blocks(path):
            found = [command for command in documented.commands(block) if not not_run(command)]
            folder.begin(found)
            for command in found:
                _report(str(command), lambda command=command: folder.run(command))
            if block.language == "python" and block.page not in SNIPPETS_NOT_RUN:
                text = folder.with_ports(block.text)
                _report(block.where, lambda text=text: exec(text, names))
    finally:
        folder.stop_server()


def _report(what, run) -> None:
    error, begun, errors = None, time.perf_counter(), io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            run()
    except Exception:
        error = errors.getvalue()[-2000:] + traceback.format_exc()
    line = {"what": what, "error": error, "seconds": round(time.perf_counter() - begun, 1)}
    print(json.dumps(line), file=_results, flush=True)


def main(folder: str, page: str) -> None:
    """The command line."""
    import tensorflow as tf

    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what processes and libraries print is no result
    os.chdir(folder)
    tf.config.threading.set_intra_op_parallelism_threads(1)  # operations this small gain nothing by more
    tf.config.threading.set_inter_op_parallelism_threads(1)
    estimator.register("blazepose")(Standing)
    workers.each = _in_this_process
    with contextlib.redirect_stdout(io.StringIO()):
        run_page(documented.ROOT / page)


if __name__ == "__main__":
    main(*sys.argv[1:])
