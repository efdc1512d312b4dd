"""Data sets by name, read from the files that their authors publish."""
