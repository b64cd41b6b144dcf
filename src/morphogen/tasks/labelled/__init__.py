"""What all classification has in common: classes, their names, groups, the cut of the parts."""
