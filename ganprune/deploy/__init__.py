"""Generators in the forms that they are deployed in, what these say of themselves, and how fast they are."""
