"""From shards to the batches a model accepts."""
