"""All data of a platform as one file, and back: what scripts/backup and scripts/restore run in a container.

A backup copies while everything runs, each part by its own means. A restore writes beside what is there, checks, and swaps.
"""
