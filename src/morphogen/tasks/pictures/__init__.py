"""What all tasks of images have in common: reading files, resizing and normalising pixels."""
