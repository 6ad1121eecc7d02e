"""Serving: SavedModel export for TF-Serving, a gRPC client, and a server of the same API for a laptop."""
