"""The run directory: what is in it, read and written, and whether a run can go on to its own bits."""
