"""Two levels of optimisation: relaxations of choices, and gradients through inner solutions."""
