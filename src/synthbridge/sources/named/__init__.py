"""The ten data sets of Bridged by name, read from the files that their authors publish."""
