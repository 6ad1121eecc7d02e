"""The command ``adl``: one name for the commands of all packages.

* :mod:`adl.commands`: the table of commands, and :func:`~adl.commands.main`, which calls one.
* :mod:`adl.completion`: completion of commands, options and names of recipes in a shell.
"""
