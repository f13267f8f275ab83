"""How the course is made: notebooks, slides and scenes, each unit from one source.

See ``notebooks/README.md``.
"""
