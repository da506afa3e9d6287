"""The command line. Its modules import only click until a command runs, so that help comes at once and `doctor`
works where nothing else is installed."""
