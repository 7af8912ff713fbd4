"""Does every generation of loaders open one published repo, and do all give the same answers?"""
