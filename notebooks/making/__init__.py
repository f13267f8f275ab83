"""How the course is made: notebooks for students and lecturers, slides and scenes from one source.

Each unit is one file of ``notebooks/source``, in jupytext's percent format. See ``notebooks/README.md``.
"""
