"""What draws: one family of generators a file, behind the small interface of `base.py`."""
