"""From observations to people: rules, the fold, incidents, alerts and deliveries."""
