"""One process: its command line, signals, memory and rank among others."""
