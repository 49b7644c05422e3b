"""``python -m volseg``: the same as the command ``volseg``."""

from volseg.cli import main

if __name__ == "__main__":
    main()
