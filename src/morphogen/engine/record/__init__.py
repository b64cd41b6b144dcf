"""Telling of a run while it goes on: watchers and loggers."""
