"""SavedModels: signatures, freezing, warm-up, loading, versions."""
