"""``python -m hrm.cli``: the `hrm` command of a Python that is named, as units of systemd do."""

from hrm.cli.main import main

if __name__ == "__main__":
    main()
