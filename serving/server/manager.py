"""The models, their loaded versions, and the version that a request gets.

:class:`Manager` follows the folders on disk and TF-Serving's model configuration. A new version is loaded and warmed up
before the old one is unloaded, and an unloaded version stays in memory until its last request has ended, so no request
fails while versions change.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pathlib
import threading
from collections.abc import Callable, Container, KeysView, Mapping
from typing import TYPE_CHECKING

import grpc

from serving.savedmodel import config_messages, versions
from serving.savedmodel.servable import Servable, ServingError, invalid_argument
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tensorflow_serving.apis import model_pb2
    from tensorflow_serving.config import model_server_config_pb2

    from serving.savedmodel.servable import Run

    Batcher = Callable[[Run], Run]
    State = tuple[str, str]

_log = logging.getLogger(__name__)
_PLATFORMS = ("", "tensorflow")


class Model:
    """The versions of one model.

    Args:
        config: A ``ModelConfig``.
        batcher: The same as for :class:`~serving.savedmodel.servable.Servable`.
        runtime: The same.
    """

    config: model_server_config_pb2.ModelConfig
    name: str
    labels: Mapping[str, int]

    def __init__(
        self,
        config: model_server_config_pb2.ModelConfig,
        batcher: Batcher | None = None,
        runtime: str | None = None,
    ):
        self.config = config
        self.name = config.name
        self.labels = {}  # label -> version
        self._batcher = batcher
        self._runtime = runtime
        # Both are replaced, never changed, so reading needs no lock.
        self._servables: dict[int, Servable] = {}  # version -> the servable, AVAILABLE
        self._states: dict[int, State] = {}  # version -> (state, error message)
        self._failed: dict[int, list[versions.State]] = {}  # version that could not be loaded -> its files
        self._unlogged: list[str] | None = None  # state changes during a trial; None: they are logged at once

    @property
    def servables(self) -> Mapping[int, Servable]:
        """Version -> :class:`~serving.savedmodel.servable.Servable` that is AVAILABLE."""
        return self._servables

    @property
    def states(self) -> Mapping[int, State]:
        """Version -> (state, error message)."""
        return self._states

    def refresh(self) -> None:
        """Brings the loaded versions in line with the folder and the policy."""
        folder = pathlib.Path(self.config.base_path)
        try:
            found = versions.find(folder)
        except OSError as error:  # a version was removed meanwhile: the next call reads the folder again
            _log.warning("%s: %s", folder, error)
            return
        if not folder.is_dir():
            _log.warning("%s: no such folder; %s stays as it is", folder, self.name)
            return
        wanted = _chosen(found, self.config.model_version_policy)
        for version in wanted:
            if version not in self._servables:
                self._try(version, found[version])
        # Old versions stay until a wanted one can replace them.
        if not wanted or any(version in self._servables for version in wanted):
            for version in sorted(set(self._servables) - set(wanted)):
                self._unload(version)
        for version in set(self._failed) - set(found):
            del self._failed[version]

    def _try(self, version, folder):
        fingerprint = versions.fingerprint(folder)
        if self._failed.get(version) != fingerprint:
            try:
                self.load(version, folder)
            except (ValueError, UserError):
                self._failed[version] = fingerprint

    def load(self, version: int, folder: pathlib.Path) -> Servable:
        """Loads and warms up a version; ValueError if that fails, UserError if its runtime is missing."""
        self._enter(version, "LOADING")
        try:
            servable = Servable(self.name, version, folder, self._batcher, runtime=self._runtime)
        except Exception as error:
            self._enter(version, "END", str(error))
            raise error if isinstance(error, (ValueError, UserError)) else ValueError(str(error)) from error
        self._failed.pop(version, None)
        self._servables = {**self._servables, version: servable}
        self._enter(version, "AVAILABLE")
        return servable

    def _unload(self, version):
        self._enter(version, "UNLOADING")
        self._servables = {number: other for number, other in self._servables.items() if number != version}
        self.labels = {label: number for label, number in self.labels.items() if number != version}
        self._enter(version, "END")
        gc.collect()  # a loaded SavedModel has reference cycles

    def _enter(self, version, state, error=""):
        self._states = {**self._states, version: (state, error)}
        change = f"model={self.name} version={version} state={state} {error}"
        if self._unlogged is None:
            _log.info("%s", change)
        else:
            self._unlogged.append(change)

    def reconfigured(self, config: model_server_config_pb2.ModelConfig) -> Model:
        """A new model with another configuration and the same loaded versions, on trial; this one is unchanged."""
        model = Model(config, self._batcher, self._runtime)
        model._unlogged = []
        if config.base_path == self.config.base_path:
            model._servables, model._states, model._failed = self._servables, self._states, dict(self._failed)
        return model

    def adopt(self) -> None:
        """Ends the trial: logs the state changes since it began."""
        for change in self._unlogged or ():
            _log.info("%s", change)
        self._unlogged = None

    def check_labels(self) -> None:
        """Raises ServingError, before anything is loaded, if the policy does not select the version of a label."""
        with contextlib.suppress(OSError):  # refresh() reports it
            if found := versions.find(self.config.base_path):
                self._require_labelled(_chosen(found, self.config.model_version_policy))

    def set_labels(self) -> None:
        """Sets the labels of the configuration; raises ServingError if one of their versions is not loaded."""
        self._require_labelled(self._servables)
        self.labels = dict(self.config.version_labels)

    def _require_labelled(self, available: Container[int]) -> None:
        for label, version in self.config.version_labels.items():
            if version not in available:
                raise ServingError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to {self.name} version {version}, which is not currently available for "
                    f"inference (label {label})",
                )


def _chosen(found, policy):
    """The found versions that a ``ServableVersionPolicy`` selects, ascending."""
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return sorted(found)
    if choice == "specific":
        return sorted(set(policy.specific.versions) & set(found))
    return sorted(found)[-(policy.latest.num_versions or 1) :]


class Manager:
    """Models and their versions.

    Args:
        name: The model's name; ``None`` starts without a model, for :meth:`configure`.
        base_path: ``BASE/<model>``, whose folders named with a number are versions.
        batcher: The same as for :class:`~serving.savedmodel.servable.Servable`.
        runtime: The same.

    Example:
        >>> manager = Manager("adl", "/models/adl")  # doctest: +SKIP
        >>> manager.load_newest().version  # doctest: +SKIP
        1
    """

    def __init__(
        self,
        name: str | None = None,
        base_path: str | os.PathLike | None = None,
        *,
        batcher: Batcher | None = None,
        runtime: str | None = None,
    ):
        from tensorflow_serving.config import model_server_config_pb2

        self._batcher = batcher
        self._runtime = runtime
        self._changing = threading.Lock()  # one change at a time
        self._models: dict[str, Model] = {}  # replaced, never changed
        if name is not None and base_path is not None:
            path = str(pathlib.Path(base_path).absolute())
            config = model_server_config_pb2.ModelConfig(name=name, base_path=path)
            self._models = {name: Model(config, batcher, runtime)}

    def load_newest(self) -> Servable:
        """Loads the manager's only model, in the version with the highest number.

        Returns:
            The :class:`~serving.savedmodel.servable.Servable`, warmed up and AVAILABLE.

        Raises:
            UserError: There is no version, or it cannot be loaded.
        """
        (model,) = self._models.values()
        version, folder = list(versions.require(model.config.base_path).items())[-1]
        try:
            with self._changing:
                return model.load(version, folder)
        except ValueError as error:
            raise UserError(f"{error}; export the model again") from error

    def refresh(self) -> None:
        """Reads the folders once: loads new versions, unloads those that are no longer selected."""
        with self._changing:
            for model in self._models.values():
                model.refresh()

    def configure(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Replaces the whole set of models; on an error the old set keeps serving.

        Args:
            config: A ``ModelServerConfig``.

        Raises:
            ServingError: The configuration is not valid, a model has no version that can be loaded, or the version of a
                label is not loaded.
        """
        _check(config)
        try:
            with self._changing:
                self._models = self._on_trial(config)
                for model in self._models.values():
                    model.adopt()
        finally:
            gc.collect()  # frees the old set, or what was loaded of a rejected new one

    def _on_trial(self, config: model_server_config_pb2.ModelServerConfig) -> dict[str, Model]:
        """The models of a configuration, loaded; raises ServingError as :meth:`configure` does."""
        models = {}
        for entry in config.model_config_list.config:
            known = self._models.get(entry.name, Model(entry, self._batcher, self._runtime))
            models[entry.name] = known.reconfigured(entry)
        for model in models.values():
            model.check_labels()
        for model in models.values():
            model.refresh()
        for model in models.values():
            if not model.servables:
                raise ServingError(grpc.StatusCode.UNKNOWN, _why(model))
            model.set_labels()
        return models

    def names(self) -> KeysView[str]:
        """Names of the models."""
        return self._models.keys()

    def servables(self) -> list[Servable]:
        """Every loaded version."""
        return [servable for model in self._models.values() for _, servable in sorted(model.servables.items())]

    def servable(self, spec: model_pb2.ModelSpec) -> Servable:
        """The version that a ``ModelSpec`` selects; the newest if it names none.

        Raises:
            ServingError: No such model, version or label.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        model = self._models.get(spec.name)
        if choice == "version_label":
            version = _labelled(model, spec)
        else:
            version = spec.version.value if choice == "version" else None
        servables = model.servables if model else {}
        if version is None:
            version = max(servables, default=None)
        if version in servables:
            return servables[version]
        wanted = f"Specific({spec.name}, {version})" if choice else f"Latest({spec.name})"
        raise ServingError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")

    def states(self, spec: model_pb2.ModelSpec) -> Mapping[int, State]:
        """Version -> (state, error message) of the versions that a ``ModelSpec`` selects.

        Raises:
            ServingError: No such model, version or label.
        """
        choice = spec.WhichOneof("version_choice")
        model = self._models.get(spec.name)
        version = _labelled(model, spec) if choice == "version_label" else spec.version.value
        states = model.states if model else {}
        if choice:
            if version not in states:
                message = f"Could not find version {version} of model {spec.name}"
                raise ServingError(grpc.StatusCode.NOT_FOUND, message)
            return {version: states[version]}
        if not states:
            raise ServingError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        return states


def _labelled(model, spec):
    """The version that has a label."""
    labels = model.labels if model else {}
    if spec.version_label not in labels:
        raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
    return labels[spec.version_label]


def _why(model):
    """Why a model has no version."""
    errors = [error for _, error in model.states.values() if error]
    return f"model {model.name} has no version that can be served: " + (
        errors[-1] if errors else f"no version folder that the policy selects in {model.config.base_path}"
    )


def _check(config):
    """Raises ServingError unless a ``ModelServerConfig`` names a usable set of models."""
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument("ServerModelConfig type not supported: only ModelConfigList is")
    names = set()
    for model in config.model_config_list.config:
        path = pathlib.PurePosixPath(model.base_path)
        if not model.name:
            raise invalid_argument("a model of the configuration has no name")
        if model.name in names:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        if not path.is_absolute():
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
        if ".." in path.parts:
            raise invalid_argument(f"base_path of model {model.name} must not contain ..: {model.base_path}")
        if model.model_platform not in _PLATFORMS:
            raise invalid_argument(f"model {model.name} has the platform {model.model_platform}, expected tensorflow")
        names.add(model.name)


def _files(config):
    """The :func:`serving.savedmodel.versions.fingerprint` of every version folder of a ``ModelServerConfig``."""
    found = []
    for entry in config.model_config_list.config:
        with contextlib.suppress(OSError):
            found += [versions.fingerprint(folder) for folder in versions.find(entry.base_path).values()]
    return found


class ConfigFile:
    """Makes a manager serve the models of a ``--model_config_file``.

    Args:
        manager: The :class:`Manager`.
        path: The file.
    """

    def __init__(self, manager: Manager, path: str | os.PathLike) -> None:
        self._manager, self._path = manager, path
        self._rejected: tuple | None = None  # the configuration, and the files of its models

    def apply(self) -> None:
        """Reads the file once; a rejected configuration is skipped until it, or a file of its models, has changed.

        Raises:
            UserError: The file is no ``ModelServerConfig``, or one of its models cannot be served.
        """
        config = config_messages.read(self._path, "ModelServerConfig")
        state = config.SerializeToString(deterministic=True), _files(config)
        if state == self._rejected:
            return
        try:
            self._manager.configure(config)
        except ServingError as error:
            self._rejected = state
            raise UserError(f"{self._path}: {error}") from error
        self._rejected = None
