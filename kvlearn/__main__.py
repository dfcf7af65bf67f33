"""`python3 -m kvlearn`: the command line. On a Python too old to go on, it says so."""

import sys

OLDEST = (3, 11)  # pyproject.toml says the same to pip


def main(argv=None):
    """Run one command; the number is the exit status."""
    if sys.version_info < OLDEST:
        sys.stderr.write(
            "kvlearn: this is Python %d.%d, and kvlearn needs %d.%d or newer: install one from "
            "your system's packages, python.org or conda, and run `python%d.%d -m kvlearn`\n"
            % (tuple(sys.version_info[:2]) + OLDEST + OLDEST)
        )
        return 2
    from kvlearn import cli

    return cli.main(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
