"""The ``hrm`` command: a client of the server like any other. `hrm.cli.main` lists its commands."""
