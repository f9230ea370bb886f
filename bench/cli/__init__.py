"""The command line: verbs, options, terminal tables and exit codes."""
