"""Scripts that misbehave once, by what they are about. ``test_faults.py`` runs them."""
