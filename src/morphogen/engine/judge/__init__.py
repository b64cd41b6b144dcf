"""Comparing methods and orders: trials, rankings, scores, and the truth they are held against."""
