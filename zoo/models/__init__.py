"""The methods: one file each, which has the method's name and registers its builder."""
