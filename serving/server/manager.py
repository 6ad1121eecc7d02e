"""Which models there are, which of their versions are loaded, and which of them a request gets.

:class:`Manager` follows the folders on disk and TF-Serving's model configuration. A new version is loaded and warmed up
before the old one is let go, and a version that is let go stays until its last request has been answered, so no request
fails while versions change.
"""

import gc
import logging
import pathlib
import threading

import grpc

from serving.savedmodel import config_messages, versions
from serving.savedmodel.servable import Refused, Servable, invalid
from zoo.shared.errors import UserError

_log = logging.getLogger(__name__)
_PLATFORMS = ("", "tensorflow")


class Model:
    """The versions of one model.

    Args:
        config: A ``ModelConfig``.
        batcher: As of :class:`~serving.savedmodel.servable.Servable`.
    """

    def __init__(self, config, batcher=None):
        self.config = config
        self.name = config.name
        self.labels = {}  # label -> version
        self._batcher = batcher
        self._servables = {}  # version -> Servable, AVAILABLE; replaced, never changed, so reading needs no lock
        self._states = {}  # version -> (state, error message); as above
        self._failed = {}  # version -> what its folder looked like when it could not be loaded

    @property
    def servables(self):
        """Version -> :class:`~serving.savedmodel.servable.Servable` that is AVAILABLE."""
        return self._servables

    @property
    def states(self):
        """Version -> (state, error message)."""
        return self._states

    def refresh(self):
        """Brings the loaded versions in line with the folder and the policy."""
        folder = pathlib.Path(self.config.base_path)
        try:
            found = versions.find(folder)
        except OSError as error:  # a version removed while the folder was read: the next look sees it whole
            _log.warning("%s: %s", folder, error)
            return
        if not folder.is_dir():
            _log.warning("%s: no such folder; %s stays as it is", folder, self.name)
            return
        wanted = _chosen(found, self.config.model_version_policy)
        for version in wanted:
            if version not in self._servables:
                self._try(version, found[version])
        # The old ones are kept until a wanted one can take their place.
        if not wanted or any(version in self._servables for version in wanted):
            for version in sorted(set(self._servables) - set(wanted)):
                self._unload(version)
        for version in set(self._failed) - set(found):
            del self._failed[version]

    def _try(self, version, folder):
        seen = _fingerprint(folder)
        if self._failed.get(version) != seen:
            try:
                self.load(version, folder)
            except ValueError:
                self._failed[version] = seen

    def load(self, version, folder):
        """Loads and warms up a version; ValueError if that fails."""
        self._enter(version, "LOADING")
        try:
            servable = Servable(self.name, version, folder, self._batcher)
        except Exception as error:
            self._enter(version, "END", str(error))
            raise error if isinstance(error, ValueError) else ValueError(str(error)) from error
        self._failed.pop(version, None)
        self._servables = {**self._servables, version: servable}
        self._enter(version, "AVAILABLE")
        return servable

    def _unload(self, version):
        self._enter(version, "UNLOADING")
        self._servables = {number: one for number, one in self._servables.items() if number != version}
        self.labels = {label: number for label, number in self.labels.items() if number != version}
        self._enter(version, "END")
        gc.collect()  # a loaded SavedModel refers to itself

    def _enter(self, version, state, error=""):
        self._states = {**self._states, version: (state, error)}
        _log.info("model=%s version=%d state=%s %s", self.name, version, state, error)

    def reconfigured(self, config):
        """A model with another configuration that takes over the loaded versions; this one is left as it is."""
        model = Model(config, self._batcher)
        if config.base_path == self.config.base_path:
            model._servables, model._states, model._failed = self._servables, self._states, dict(self._failed)
        return model

    def set_labels(self):
        """Gives the versions the labels of the configuration; Refused if one of these versions is not loaded."""
        labels = dict(self.config.version_labels)
        for label, version in labels.items():
            if version not in self._servables:
                raise Refused(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to {self.name} version {version}, which is not currently available for "
                    f"inference (label {label})",
                )
        self.labels = labels


def _chosen(found, policy):
    """The versions that a ``ServableVersionPolicy`` wants of those found, ascending."""
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return sorted(found)
    if choice == "specific":
        return sorted(set(policy.specific.versions) & set(found))
    return sorted(found)[-(policy.latest.num_versions or 1) :]


def _fingerprint(folder):
    """What changes when a folder's files do."""
    seen = []
    for path in sorted(folder.rglob("*")):
        try:
            status = path.stat()
        except OSError:
            continue
        seen.append((str(path), status.st_size, status.st_mtime_ns))
    return seen


class Manager:
    """Models and their versions.

    Args:
        name: The model's name; ``None`` starts without a model, for :meth:`configure`.
        base_path: ``BASE/<model>``, whose folders with a number for a name are versions.
        batcher: As of :class:`~serving.savedmodel.servable.Servable`.

    Example:
        >>> manager = Manager("adl", "/models/adl")  # doctest: +SKIP
        >>> manager.load_newest().version  # doctest: +SKIP
        1
    """

    def __init__(self, name=None, base_path=None, *, batcher=None):
        from tensorflow_serving.config import model_server_config_pb2

        self._batcher = batcher
        self._changing = threading.Lock()  # one change at a time
        self._models = {}  # name -> Model; replaced, never changed
        if name is not None:
            path = str(pathlib.Path(base_path).absolute())
            config = model_server_config_pb2.ModelConfig(name=name, base_path=path)
            self._models = {name: Model(config, batcher)}

    def load_newest(self):
        """Loads the version with the highest number of the one model.

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

    def refresh(self):
        """Looks at the folders once: loads what is new, unloads what is no longer wanted."""
        with self._changing:
            for model in self._models.values():
                model.refresh()

    def configure(self, config):
        """Replaces the whole set of models; on an error the old set keeps serving.

        Args:
            config: A ``ModelServerConfig``.

        Raises:
            Refused: The configuration is not valid, a model has no version that can be loaded, or a label's version is
                not loaded.
        """
        _check(config)
        with self._changing:
            models = {}
            for one in config.model_config_list.config:
                model = self._models.get(one.name, Model(one, self._batcher)).reconfigured(one)
                model.refresh()
                models[one.name] = model
            for model in models.values():
                if not model.servables:
                    raise Refused(grpc.StatusCode.UNKNOWN, _why(model))
                model.set_labels()
            self._models = models
        gc.collect()

    def names(self):
        """Names of the models."""
        return self._models.keys()

    def servables(self):
        """Every loaded version."""
        return [servable for model in self._models.values() for _, servable in sorted(model.servables.items())]

    def servable(self, spec):
        """The version that a ``ModelSpec`` asks for; the newest if it names none.

        Raises:
            Refused: No such model, version or label.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
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
        raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")

    def states(self, spec):
        """Version -> (state, error message) of the versions that a ``ModelSpec`` asks about.

        Raises:
            Refused: No such model, version or label.
        """
        choice = spec.WhichOneof("version_choice")
        model = self._models.get(spec.name)
        version = _labelled(model, spec) if choice == "version_label" else spec.version.value
        states = model.states if model else {}
        if choice:
            if version not in states:
                message = f"Could not find version {version} of model {spec.name}"
                raise Refused(grpc.StatusCode.NOT_FOUND, message)
            return {version: states[version]}
        if not states:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        return states


def _labelled(model, spec):
    """The version that carries a label."""
    labels = model.labels if model else {}
    if spec.version_label not in labels:
        raise invalid(f"Unrecognized servable version label: {spec.version_label}")
    return labels[spec.version_label]


def _why(model):
    """Why a model has no version."""
    errors = [error for _, error in model.states.values() if error]
    return f"model {model.name} has no version that can be served: " + (
        errors[-1] if errors else f"no version folder that the policy wants in {model.config.base_path}"
    )


def _check(config):
    """Refuses a ``ModelServerConfig`` that names no usable set of models."""
    if config.WhichOneof("config") != "model_config_list":
        raise invalid("ServerModelConfig type not supported: only ModelConfigList is")
    names = set()
    for model in config.model_config_list.config:
        path = pathlib.PurePosixPath(model.base_path)
        if not model.name:
            raise invalid("a model of the configuration has no name")
        if model.name in names:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        if not path.is_absolute():
            raise invalid(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
        if ".." in path.parts:
            raise invalid(f"base_path of model {model.name} must not contain ..: {model.base_path}")
        if model.model_platform not in _PLATFORMS:
            raise invalid(f"model {model.name} has the platform {model.model_platform}, expected tensorflow")
        names.add(model.name)


def configure_from(manager, path):
    """Lets a manager serve what a ``--model_config_file`` names.

    Args:
        manager: The :class:`Manager`.
        path: The file.

    Raises:
        UserError: The file is no ``ModelServerConfig``, or what it names cannot be served.
    """
    try:
        manager.configure(config_messages.read(path, "ModelServerConfig"))
    except Refused as refusal:
        raise UserError(f"{path}: {refusal}") from refusal
