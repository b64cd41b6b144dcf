"""The loop, its run directory, and everything about machines that methods need not know."""
