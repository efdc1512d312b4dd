"""What leaves the house: the chosen model with its card, and image sets in common layouts."""
