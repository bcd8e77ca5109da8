"""Engine bundle → what a server wants to find; one format a file."""
