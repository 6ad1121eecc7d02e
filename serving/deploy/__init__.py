"""TF-Serving's configuration."""
