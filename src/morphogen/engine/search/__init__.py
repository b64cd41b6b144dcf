"""Searches: from a request to the loop of steps or of rounds, and to a result."""
