"""Training: stages of Keras models, and two-level fusion."""
