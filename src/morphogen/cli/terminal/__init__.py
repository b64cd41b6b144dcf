"""The terminal: streams, signals, progress, faults, and the width and form of what is printed."""
