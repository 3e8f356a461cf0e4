"""What the results say: summary, funnel, figures, provenance."""
