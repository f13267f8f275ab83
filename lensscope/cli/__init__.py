"""The ``lensscope`` command: a file for each group of commands."""

from lensscope.cli.command import main as main
