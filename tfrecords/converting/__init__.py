"""From recordings to shards: videos, persons, crops, and the writer."""
