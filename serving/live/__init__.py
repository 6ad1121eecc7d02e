"""People, activities and events of a running camera, and a page that shows them; empty so far."""
