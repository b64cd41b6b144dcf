"""Trainings from scratch: the evaluation after a search."""
