"""What jobs ask for, and the estimate before anything runs."""
