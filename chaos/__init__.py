"""The whole system under a seeded storm of faults, and the score at its end: `make chaos`. docs/chaos.md says how to read it."""
