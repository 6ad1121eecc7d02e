"""Weights: reading files, published checkpoints, transfer between models."""
