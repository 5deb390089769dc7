"""Latency predicted from a table measured once per layer shape."""
