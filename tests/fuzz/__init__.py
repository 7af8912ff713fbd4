"""Mutated files for every decoder and for the files of a release; see `__main__`."""
