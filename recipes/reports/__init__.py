"""Figures of a run: scoring, tables, plots, pages and cards."""
