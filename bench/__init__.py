"""The worker beside what else one could run, in one go: `make bench`, or `python -m bench PART…`.

Every figure is the median of interleaved rounds on the same texts, with its spread; what matters are the ratios within one run.
Nothing here passes or fails. `bench/__main__.py` is where to begin; each part is a module of its own.
"""
