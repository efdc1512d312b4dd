"""Forms of real data sets: each source becomes records with an image, a class and a split."""
