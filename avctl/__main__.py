"""`python -m avctl` is the command `avctl`."""

from avctl.cli.main import main

if __name__ == "__main__":
    main()
