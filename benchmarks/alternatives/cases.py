"""The cases of `benchmarks/inference.py`, and the files that the contenders share."""

import dataclasses
import pathlib

import numpy as np

NUM_CLASSES = 60


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, a size of clips, a batch and a precision.

    Attributes:
        model: ``i3d`` or ``vpn``.
        frames: Frames of a clip.
        size: Height and width of a frame in pixels.
        batch: Clips of a batch.
        precision: ``float32`` or ``bfloat16``.
        folder: Folder with the files of all cases.
    """

    model: str
    frames: int
    size: int
    batch: int
    precision: str
    folder: str

    @property
    def files(self):
        """Folder of the model and its exports, which depend on model and size alone."""
        return pathlib.Path(self.folder) / f"{self.model}-{self.frames}x{self.size}"

    @property
    def expected(self):
        """File of the Keras model's float32 probabilities for :meth:`clips`."""
        return self.files / f"expected-{self.batch}.npy"

    def shapes(self):
        """Name of an input -> shape, without batch."""
        return {"rgb": (self.frames, self.size, self.size, 3), **({"pose": (20, 1, 25, 3)} if self.pose else {})}

    @property
    def pose(self):
        """Whether the model takes poses too."""
        return self.model != "i3d"

    def clips(self):
        """Name of an input -> random batch, always the same."""
        rng = np.random.default_rng(0)
        return {
            name: rng.uniform(-1, 1, (self.batch, *shape)).astype("float32") for name, shape in self.shapes().items()
        }
