"""The families of generators: one file each, to be read beside diffusers' pipeline of it."""
