"""From an architecture to a score: by table, by training; and what a supernet looks like."""
