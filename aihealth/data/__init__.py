"""Data sets: layouts of folders, prepared imagefolders, streams, and where they came from."""
