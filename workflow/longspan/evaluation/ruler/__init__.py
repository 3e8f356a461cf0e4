"""RULER's 13 tasks (arXiv 2404.06654), made from the published data, equal to what its generators make."""
