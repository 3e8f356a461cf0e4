"""Token ids and character offsets of documents."""
