"""Options of the command line: the types of their values, and groups of options that several commands share."""
