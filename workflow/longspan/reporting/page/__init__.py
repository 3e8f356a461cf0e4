"""The page `report.html`: what it shows, as data, and the one file that shows it."""
