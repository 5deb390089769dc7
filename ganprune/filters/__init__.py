"""Bits, filters and compact networks: what an individual of the search means for a generator."""
