"""Archives and commits from package indexes and hubs, checked."""
