"""Sizes and lengths of a search, chosen for the data, the machine and the time."""
