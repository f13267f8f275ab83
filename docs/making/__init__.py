"""How the manual is made: its reference from the package, its pictures from code that runs.

``make docs`` runs ``python -m docs.making.gallery`` and then mkdocs, whose hooks are in `hooks.py`.
"""
