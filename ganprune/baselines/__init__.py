"""Pruning criteria from the literature: which filters they would keep at a wanted size, to compare a search with."""
