"""How jobs start: environment, launchers, devices, large DAGs."""
