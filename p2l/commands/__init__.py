"""One file per command, and the command line that runs them."""
