"""A second opinion on plans: random small fleets, solved again by trying everything, and every hint taken."""
