"""The run directory: its files, read and written; and whether a run can go on to its own bits."""
