"""The former name of :mod:`zoo.gradient_checkpointing`, kept for programs that import it."""

from zoo.gradient_checkpointing import block_ends, training_call

__all__ = ["block_ends", "training_call"]
