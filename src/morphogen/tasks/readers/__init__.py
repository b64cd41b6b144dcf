"""Files of arrays, read without trust in what they say of themselves."""
