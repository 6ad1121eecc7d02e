"""The public workflow runs what .ci/run runs, and the Dockerfiles name what the project has."""

import json
import re

import yaml

from serving.deploy import tf_serving
from tests.conftest import REPOSITORY
from tests.test_packaging import PACKAGES


def test_the_workflow_runs_the_same_targets():
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())
    jobs = {each["python"]: each for each in workflow["jobs"]["test"]["strategy"]["matrix"]["include"]}
    script = (REPOSITORY / ".ci/run").read_text()
    (alone,) = re.findall(r'^with_python "\$first_row" (.*)$', script, re.MULTILINE)
    both, others = re.findall(r'^  with_python "\$version" (.*)$', script, re.MULTILINE)
    (versions,) = re.findall(r"^for version in ([\d. ]*); do$", script, re.MULTILINE)
    first = [word for word in f"{alone} {both}".split() if word.isalpha()]
    wanted = {**dict.fromkeys(versions.split(), others), "3.11": " ".join(first), "3.13": both}
    assert {version: job["targets"] for version, job in jobs.items()} == wanted
    of_rows, of_others = re.findall(r'^set_up (\S+) "\$\{\w+\[@\]\}"$', script, re.MULTILINE)
    assert {version: job["extras"] for version, job in jobs.items()} == {
        version: of_others if targets == others else of_rows for version, targets in wanted.items()
    }


def test_the_image_of_training_is_built_of_all_packages():
    ignored = (REPOSITORY / "docker/training.Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert set(PACKAGES) <= kept
    assert all((REPOSITORY / name).exists() for name in kept)


def test_the_image_of_serving_starts_as_the_compose_file_does():
    text = (REPOSITORY / "docker/serving.Dockerfile").read_text()
    instructions = dict(re.findall(r"^([A-Z]+) (.*)$", text.replace("\\\n", ""), re.MULTILINE))
    assert instructions["FROM"] == tf_serving.IMAGE
    assert json.loads(instructions["CMD"]) == tf_serving.flags([], tls=False)
    ((folder, files),) = tf_serving.mounted_files(tls=False).items()
    assert re.search(r"^COPY (.*) (\S+)/$", text, re.MULTILINE).groups() == (
        " ".join(f"deploy/{name}" for name in files),
        folder,
    )
    assert f"COPY models {tf_serving.MODELS}\n" in text
