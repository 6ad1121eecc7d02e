"""Recipes: their sections, reading them, and the rules between them."""
