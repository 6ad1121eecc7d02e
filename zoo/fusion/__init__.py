"""Two-level fusion of appearance, motion and poses by SVMs (MMM19)."""
